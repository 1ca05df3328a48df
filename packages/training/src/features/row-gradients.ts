import { addAlongAxis, concat, Key, type Tensor, tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import {
  type FeatureRequest,
  type Given,
  number,
  options,
  PosttrainError,
  type RowGradients,
} from '@posttrain/interfaces';
import { annotateTopK } from '../distillation/distillation.js';
import type { Loss } from '../loss/loss.js';
import type { TrainingRow } from '../loss/rows.js';
import { negativeLogLikelihood, weightedSum } from '../loss/token-loss.js';
import { logProbsOf } from '../readouts/log-probs-of.js';
import { tokenizeRows } from '../sft/tokenize-rows.js';
import { copiesOf } from '../trainer/parameters.js';
import type { GradientReduction } from '../trainer/row-gradients.js';
import type { Trainer } from '../trainer/trainer.js';

const rowGradientsOptions = options('rowGradients', {
  /** Of Adam's mean, for the direction `adam`. Default 0.9. */
  beta1: number({ default: 0.9, min: 0, below: 1 }),
  /** Of Adam's mean of squares. Default 0.999. */
  beta2: number({ default: 0.999, min: 0, below: 1 }),
  /** Default 1e-8. */
  epsilon: number({ default: 1e-8, above: 0 }),
});
/** Options of `rowGradients`. */
export type RowGradientsOptions = Given<typeof rowGradientsOptions>;

/** -log p of the model's own most likely tokens, held fixed (BADGE, arXiv 1906.03671). */
const hallucinated: Loss = (() => {
  const readout = logProbsOf({ ids: 'teacher_ids', k: 1 });
  return {
    name: 'hallucinated',
    annotations: readout.annotations!,
    computeFrom: (read, { weights }) => ({ loss: weightedSum(read(readout).squeeze(2).neg(), weights), metrics: {} }),
  };
})();

interface Projecting {
  readonly mean: Named;
  readonly square: Named;
  /** Where each coordinate goes, int32 [n], and with which sign. Absent without a projection. */
  readonly places?: Tensor;
  readonly signs?: Tensor;
}

/** Parameters that are asked about. */
const NAMES = {
  trained: () => true,
  output: (name: string) => /(^|\.)lm_head\./.test(name),
} as const;

/**
 * Gradients of rows of what a trainer trains, one at a time, for LESS (arXiv 2402.04333) and BADGE (arXiv 1906.03671).
 * The direction `adam` is LESS's Γ = (β₁ m + (1 - β₁) g) / √(β₂ v + (1 - β₂) g² + ε), with m and v of the trainer's
 * optimizer, which must be of the Adam family.
 *
 * The projection is a count sketch (arXiv 0902.2206): every coordinate is added, with a sign, to one of k places, both
 * drawn from the seed. Inner products are right in expectation, with a variance of the order of 1 / k as that of LESS's
 * dense signs, at a cost that does not grow with k.
 *
 * @throws PosttrainError ROW_GRADIENTS where nothing is trained that is asked about, the optimizer has no moments, or a
 *   row leaves no token of its completion in the context
 */
export function rowGradients(trainer: Trainer, given: RowGradientsOptions = {}): RowGradients {
  const { beta1, beta2, epsilon } = rowGradientsOptions.read(given);
  const reductions = new Map<string, GradientReduction<Projecting>>();
  const reductionOf = (direction: 'sgd' | 'adam', parameters: 'trained' | 'output', projection: number | undefined) => {
    const key = JSON.stringify([direction, parameters, projection]);
    const made: GradientReduction<Projecting> = reductions.get(key) ?? {
      name: 'rowGradients',
      reduce(state, gradients) {
        const chosen = Object.entries(gradients).filter(([name]) => NAMES[parameters](name));
        const moved = chosen.map(([name, g]) => {
          if (direction === 'sgd') return g.reshape([g.size]);
          const mean = state.mean[name]!.mul(beta1).add(g.mul(1 - beta1));
          const square = state.square[name]!.mul(beta2).add(g.square().mul(1 - beta2));
          return mean.div(square.add(epsilon).sqrt()).reshape([g.size]);
        });
        const whole = concat(moved, 0);
        const { places, signs } = state;
        const vector = places ? addAlongAxis(places, whole.mul(signs!), { axis: 0, size: projection! }) : whole;
        return { state, values: { vector } };
      },
    };
    reductions.set(key, made);
    return made;
  };
  return {
    name: `gradients of ${trainer.model.name}`,
    async gradients(
      requests,
      { projection, seed = 0, of = 'loss', parameters = 'trained', direction = 'sgd', signal } = {},
    ) {
      const names = Object.keys(trainer.variables).filter(NAMES[parameters]);
      if (names.length === 0)
        throw new PosttrainError('ROW_GRADIENTS', 'rowGradients: the output layer is not trained');
      const size = names.reduce((sum, name) => sum + trainer.variables[name]!.size, 0);
      let rows = rowsOf(trainer, requests);
      if (of === 'hallucinated') rows = await annotateTopK(trainer.model, rows, { k: 1, adapter: trainer.adapter });
      const reduction = reductionOf(direction, parameters, projection);
      const moments = direction === 'adam' ? momentsOf(trainer, names) : { mean: {}, square: {} };
      const sketch = projection === undefined ? {} : sketchOf(size, projection, seed);
      const loss = of === 'hallucinated' ? hallucinated : negativeLogLikelihood;
      const vectors: Float32Array[] = [];
      // The reduction takes its state over: the optimizer's own must stay.
      let state: Projecting = { mean: await copiesOf(moments.mean), square: await copiesOf(moments.square), ...sketch };
      for (const row of rows) {
        signal?.throwIfAborted();
        const reduced = await trainer.reduceGradients([row], loss, reduction, { state });
        state = reduced.state;
        vectors.push(reduced.values.vector![0]!);
      }
      return vectors;
    },
  };
}

function momentsOf(trainer: Trainer, names: readonly string[]): { readonly mean: Named; readonly square: Named } {
  const states = trainer.optimizerState;
  const moment = (kind: 'mean' | 'square') =>
    Object.fromEntries(
      names.map((name) => {
        const found = states[name]![kind];
        if (found) return [name, found] as const;
        const problem = `the optimizer keeps no ${kind} of ${name}; the direction "adam" needs one of the Adam family`;
        throw new PosttrainError('ROW_GRADIENTS', `rowGradients: ${problem}`);
      }),
    );
  return { mean: moment('mean'), square: moment('square') };
}

function sketchOf(size: number, projection: number, seed: number): Required<Pick<Projecting, 'places' | 'signs'>> {
  if (!(Number.isSafeInteger(projection) && projection > 0)) {
    throw new PosttrainError(
      'ROW_GRADIENTS',
      `rowGradients: projection is ${projection}; it must be a whole number above 0`,
    );
  }
  const draw = (part: number) => Key.fromSeed(seed).child(part).uniformHost(size);
  return {
    places: tensor(
      Int32Array.from(draw(0), (u) => Math.floor(u * projection)),
      [size],
      'int32',
    ),
    signs: tensor(
      Float32Array.from(draw(1), (u) => (u < 0.5 ? -1 : 1)),
      [size],
    ),
  };
}

/** The completion of each as a row, in which every token of it weighs the same. */
function rowsOf(trainer: Trainer, requests: readonly FeatureRequest[]): TrainingRow[] {
  return requests.map(({ prompt, completion }, i) => {
    const said = typeof prompt === 'string' ? completion : [{ role: 'assistant', content: completion }];
    const { rows } = tokenizeRows(trainer.model, [{ prompt, completion: said }]);
    const { tokens, mask } = rows[0] ?? { tokens: [], mask: [] };
    const trained = mask.slice(1);
    const count = trained.reduce((a: number, b) => a + b, 0);
    if (count > 0) return { tokens, weights: trained.map((one) => one / count) };
    const problem = `row ${i} is so long that the context has no token of its completion`;
    throw new PosttrainError('ROW_GRADIENTS', `rowGradients: ${problem}`);
  });
}
