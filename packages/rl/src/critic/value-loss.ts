import type { Tensor } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { type Loss, type TrainingRow, tokenValues, weightedSum } from '@posttrain/training';
import type { CriticExample } from './critic-values.js';

export const valueLossShape = {
  /** ε of the values: how far from V_old a value counts as moved. Default 0.2, as in TRL's PPO. */
  cliprangeValue: number({ default: 0.2, above: 0 }),
  /** What the loss is multiplied by. Default 0.1, as in TRL's PPO. */
  vfCoef: number({ default: 0.1, above: 0 }),
};
const valueLossOptions = options('valueLoss', valueLossShape);
/** Options of `valueLoss`. */
export type ValueLossOptions = Given<typeof valueLossOptions>;

/**
 * The clipped value loss of PPO (arXiv 1707.06347; as in TRL's PPOTrainer): c · ½ Σ w max((V - R)², (V_old + clip(V - V_old, -ε, ε) - R)²),
 * over rows of `valueRows`. Where no value has moved by more than ε it is the squared error. Its metrics are TRL's: `vf_loss`, without
 * c, and `vf_clipfrac`.
 */
export function valueLoss(given: ValueLossOptions = {}): Loss {
  const { cliprangeValue, vfCoef } = valueLossOptions.read(given);
  return {
    name: 'value-loss',
    annotations: ['returns', 'old_values'],
    computeFrom(read, { weights, annotations }) {
      const { returns, old_values: old } = annotations;
      // Of the states before each prediction.
      const values = read(tokenValues).slice(1, 0, weights.shape[1]!);
      const metrics = clippedValueLoss({ values, returns: returns!, old: old!, weights }, cliprangeValue);
      return { loss: metrics.vf_loss.mul(vfCoef), metrics };
    },
  };
}

/** ½ Σ w max((V - R)², (V_old + clip(V - V_old, -ε, ε) - R)²), and how often the second is the larger. */
export function clippedValueLoss(
  { values, returns, old, weights }: Readonly<Record<'values' | 'returns' | 'old' | 'weights', Tensor>>,
  range: number,
): { readonly vf_loss: Tensor; readonly vf_clipfrac: Tensor } {
  const moved = old.add(values.sub(old).clamp(-range, range));
  const [free, clipped] = [values.sub(returns).square(), moved.sub(returns).square()];
  return {
    vf_loss: weightedSum(free.maximum(clipped), weights).mul(0.5),
    vf_clipfrac: weightedSum(clipped.greater(free).cast('float32'), weights),
  };
}

/** Rows of examples for `valueLoss`; the loss is the mean over all states that have a target. */
export function valueRows(examples: readonly CriticExample[]): TrainingRow[] {
  const count = examples.reduce((sum, { at }) => sum + at.length, 0);
  return examples.map(({ tokens, at, returns, values }) => {
    // Entries belong to predictions: the state behind the last token needs one more token, which nothing before it sees.
    const seen = at.at(-1) === tokens.length - 1 ? [...tokens, tokens.at(-1)!] : tokens;
    const place = (numbers: (i: number) => number) => {
      const entries = new Array<number>(seen.length - 1).fill(0);
      at.forEach((t, i) => {
        entries[t] = numbers(i);
      });
      return entries;
    };
    return {
      tokens: seen,
      weights: place(() => 1 / count),
      annotations: { returns: place((i) => returns[i]!), old_values: place((i) => values[i]!) },
    };
  });
}
