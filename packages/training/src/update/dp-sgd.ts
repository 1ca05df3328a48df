import { compile, Key, normal, perEngine, scalar, type Tensor, zerosBuffer } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, integer, number, options, PosttrainError } from '@posttrain/interfaces';
import type { TrainingRow } from '../loss/rows.js';
import { asLoss } from '../trainer/lift-token-loss.js';
import type { GradientReduction } from '../trainer/row-gradients.js';
import type { UpdateRule } from './update-rule.js';

const dpSgdOptions = options('dpSgd', {
  /** C: the gradient of every row is scaled down to this norm. */
  maxGradNorm: number({ above: 0 }),
  /**
   * σ: the noise has the standard deviation σ C in every coordinate of the sum. 0: clipped rows without noise, which is
   * not private.
   */
  noiseMultiplier: number({ min: 0 }),
  /** L: what the sum is divided by. Default: the number of rows of the step. */
  expectedBatchSize: number({ optional: true, above: 0 }),
  /** Of the noise, which depends on it and the number of the step. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `dpSgd`, by the names of Opacus. */
export type DpSgdOptions = Given<typeof dpSgdOptions>;

/** Opacus': what is added to the norm that a row's gradient is divided by. */
const CLIP_EPSILON = 1e-6;

const noised = perEngine(() =>
  compile(
    (sums: Named, keys: Named, deviation: Tensor, factor: Tensor): Named =>
      mapNamed(sums, (sum, name) => sum.add(normal(keys[name]!, sum.shape).mul(deviation)).mul(factor)),
    { name: 'dpSgd' },
  ),
);

/**
 * Differentially private SGD (arXiv 1607.00133, algorithm 1) as the rule of an update: g = (Σ_i g_i min(1, C / ‖g_i‖) +
 * N(0, σ² C² I)) / L, with g_i the gradient of row i, in which every trained token of the row weighs the same; the
 * optimizer then takes g for its gradient. Gradients of rows exist one at a time. `privacySpent` says what σ, sampling
 * rate and number of steps come to, for rows that are drawn as it assumes: `sft({ sampling: 'poisson' })`.
 *
 * A trainer's own `maxGradNorm` clips g once more; 0 turns that off. The noise is pseudo-random float32 from `seed`:
 * whoever knows the seed can take it off.
 *
 * @throws OptionError; PosttrainError DP_SGD for a loss of groups or a row of several packed sequences: one row is one
 *   example
 */
export function dpSgd(given: DpSgdOptions): UpdateRule {
  const { maxGradNorm, noiseMultiplier, expectedBatchSize, seed } = dpSgdOptions.read(given);
  const clippedSum: GradientReduction<Named> = {
    name: 'dpSgd',
    reduce(sums, gradients, norm) {
      const factor = norm.add(CLIP_EPSILON).reciprocal().mul(maxGradNorm).minimum(1);
      return { state: mapNamed(sums, (sum, name) => sum.add(gradients[name]!.mul(factor))) };
    },
  };
  return {
    name: 'dp-sgd',
    settings: dpSgdOptions.settings(given),
    ...(expectedBatchSize !== undefined && { expectedBatchSize }),
    async update(trainer, rows, given, { learningRate, ...inputs }) {
      const loss = asLoss(given);
      if ((loss.groupSize ?? 1) !== 1 || rows.some(({ lengths }) => (lengths?.length ?? 1) > 1)) {
        const problem = 'one row must be one example: no groups of rows, no packed sequences (packing: false)';
        throw new PosttrainError('DP_SGD', `dpSgd: ${problem}`);
      }
      const zeros = mapNamed(trainer.variables, (p) => zerosBuffer(p.shape));
      if (rows.length === 0 && expectedBatchSize === undefined) {
        throw new PosttrainError(
          'DP_SGD',
          'dpSgd: an update without rows needs expectedBatchSize to divide its noise by',
        );
      }
      // A step that drew no row is noise alone, and is made: that there was none is as secret as any row.
      const sum =
        rows.length === 0
          ? { state: zeros, loss: 0, metrics: {}, tokens: 0, norms: [] }
          : await trainer.reduceGradients(rows.map(ofItsOwn), loss, clippedSum, { ...inputs, state: zeros });
      const count = Math.max(1, rows.length);
      const key = Key.fromSeed(seed).child(trainer.step);
      const keys = Object.keys(zeros).map((name, i) => [name, key.child(i).toTensor()] as const);
      const { engine } = trainer.model.network;
      const [deviation, factor] = [noiseMultiplier * maxGradNorm, 1 / (expectedBatchSize ?? rows.length)].map((x) =>
        scalar(x),
      );
      const gradients = await noised(engine)(sum.state, Object.fromEntries(keys), deviation!, factor!);
      const { gradNorm } = await trainer.optimStep({ learningRate, gradients });
      const metrics = Object.entries(sum.metrics).map(([name, value]) => {
        return [name, loss.combine?.[name] ? value : value / count] as const;
      });
      const clipped = sum.norms.filter((norm) => norm > maxGradNorm).length / count;
      return {
        loss: sum.loss / count,
        metrics: { ...Object.fromEntries(metrics), clipped_rows: clipped, sampled_rows: rows.length },
        tokens: sum.tokens,
        gradNorm,
      };
    },
  };
}

/** A row whose weights add up to 1. */
function ofItsOwn(row: TrainingRow): TrainingRow {
  const weights = Array.from(row.weights);
  const total = weights.reduce((a, b) => a + b, 0);
  return { ...row, weights: weights.map((weight) => weight / total) };
}
