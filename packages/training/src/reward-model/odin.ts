import { iota, stopGradient, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { HeadError, headLogits, type SequenceClassifier } from '@posttrain/lm';
import type { Readout } from '../loss/loss.js';
import { weightedSum } from '../loss/token-loss.js';
import { sequenceLogits } from '../readouts/heads.js';
import { bradleyTerry, type RewardPairRow } from './bradley-terry.js';
import type { RewardModelLoss } from './reward-model-loss.js';

const odinOptions = options('odin', {
  /** λ_L, how strongly the length head is held to the length, and the quality head off it. Default 1. */
  lengthWeight: number({ default: 1, min: 0 }),
  /** λ_O, how strongly the two heads are held at a right angle. Default 1. */
  orthogonalWeight: number({ default: 1, min: 0 }),
});
/** Options of `odin`. */
export type OdinOptions = Given<typeof odinOptions>;

/** The outputs of the head, in order. */
export const ODIN_LABELS = ['quality', 'length'] as const;

/** |cos(W_Q, W_L)| of the two outputs of the head with what an adapter adds to them, the same for each row, [b]. */
const headOverlap: Readout<Tensor> = {
  name: 'headOverlap',
  per: 'row',
  compute({ network, weights, hidden, hooks, batch }) {
    const width = hidden.shape[2]!;
    const identity = iota([width, width], 0)
      .equal(iota([width, width], 1))
      .cast('float32');
    const outputs = (of: Tensor) => headLogits(network, weights, of, hooks);
    const columns = outputs(identity).sub(outputs(identity.mul(0)));
    const [quality, length] = [0, 1].map((i) => columns.slice(1, i, i + 1).squeeze(1)) as [Tensor, Tensor];
    const norms = quality.square().sum().mul(length.square().sum()).add(1e-20).sqrt();
    return quality.mul(length).sum().abs().div(norms).broadcastTo([batch.tokens.shape[0]!]);
  },
};

/** Pearson's correlation ρ of x and y, and ∂ρ/∂x_i; both 0 where one of them is constant. */
function correlation(x: readonly number[], y: readonly number[]): { readonly rho: number; readonly slopes: number[] } {
  const centred = (values: readonly number[]) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return values.map((value) => value - mean);
  };
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  const [u, v] = [centred(x), centred(y)];
  const [uu, vv] = [dot(u, u), dot(v, v)];
  if (uu === 0 || vv === 0) return { rho: 0, slopes: x.map(() => 0) };
  const rho = dot(u, v) / Math.sqrt(uu * vv);
  return { rho, slopes: u.map((value, i) => v[i]! / Math.sqrt(uu * vv) - (rho * value) / uu) };
}

/**
 * ODIN (arXiv 2402.07319, §4): a quality reward r_Q and a length reward r_L of one head with the labels `ODIN_LABELS`. Their sum
 * learns the preferences of pairs, -log σ(Δr_Q + Δr_L); λ_L (|ρ(r_Q, length)| - ρ(r_L, length)), with Pearson's ρ over all answers of the
 * step, puts what the length says into r_L; λ_O |cos(W_Q, W_L)| holds the two outputs apart (the paper normalises them after each
 * update). `odinQuality` is the reward model without the length. ρ is that of the whole step however it is split, for one more
 * forward pass. Metrics are those of `bradleyTerry`, of the sum, and `length_correlation/quality` and `/length`.
 */
export function odin(given: OdinOptions = {}): RewardModelLoss<RewardPairRow> {
  const { lengthWeight, orthogonalWeight } = odinOptions.read(given);
  const pairs = bradleyTerry();
  return {
    ...pairs,
    name: 'odin',
    settings: odinOptions.settings(given),
    annotations: [
      ...pairs.annotations,
      ...['slopes', 'correlations'].map((name) => ({ name, per: 'row' as const, width: 2 })),
    ],
    async annotate(rows, read) {
      const logits = await read(sequenceLogits);
      const lengths = rows.map(({ tokens }) => tokens.length);
      const [quality, length] = [0, 1].map((i) =>
        correlation(
          logits.map((row) => row[i]!),
          lengths,
        ),
      ) as [ReturnType<typeof correlation>, ReturnType<typeof correlation>];
      return rows.map((row, i) => ({
        ...row,
        annotations: {
          ...row.annotations,
          slopes: [Math.sign(quality.rho) * quality.slopes[i]!, -length.slopes[i]!],
          correlations: [quality.rho, length.rho],
        },
      }));
    },
    computeFrom(read, inputs) {
      const logits = read(sequenceLogits);
      const labels = logits.shape[1]!;
      if (labels !== 2) {
        const remedy = 'make it with SequenceClassifier.fromCausalLM(model, { labels: ODIN_LABELS })';
        throw new HeadError(`odin has two outputs, quality and length, but the head has ${labels}: ${remedy}`);
      }
      const sums = logits.sum(1).expandDims(1);
      const asked = ((readout) => (readout === (sequenceLogits as unknown) ? sums : read(readout))) as typeof read;
      const { loss, metrics } = pairs.computeFrom(asked, inputs);
      // Both rows of a pair have its weight.
      const weight = inputs.weights.sum(1).mul(0.5);
      const { slopes, correlations } = inputs.annotations as Readonly<Record<'slopes' | 'correlations', Tensor>>;
      const column = (values: Tensor, i: number) => values.slice(1, i, i + 1).squeeze(1);
      const [ofQuality, ofLength] = [0, 1].map((i) => weightedSum(column(correlations, i), weight)) as [Tensor, Tensor];
      // Its value is that of the correlations, its gradient that of Σ ∂ρ/∂r · r over the rows of this pass.
      const linear = logits.mul(slopes).sum();
      const ofLengths = ofQuality
        .abs()
        .sub(ofLength)
        .add(linear.sub(stopGradient(linear)));
      const overlap = weightedSum(read(headOverlap), weight);
      return {
        loss: loss.add(ofLengths.mul(lengthWeight)).add(overlap.mul(orthogonalWeight)),
        metrics: {
          ...metrics,
          'length_correlation/quality': ofQuality,
          'length_correlation/length': ofLength,
          head_overlap: overlap,
        },
      };
    },
  };
}

/**
 * The quality head of a model trained with `odin`, as a reward model with one label: what a policy is trained with.
 *
 * @throws HeadError for a model whose labels are others
 */
export function odinQuality(model: SequenceClassifier): SequenceClassifier {
  if (String(model.labels) === String(ODIN_LABELS)) return model.selectLabels(['quality']);
  throw new HeadError(
    `${model.name} has the labels ${model.labels.join(', ')}; those of odin are ${ODIN_LABELS.join(', ')}`,
  );
}
