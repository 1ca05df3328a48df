import { PosttrainError } from '@posttrain/interfaces';
import { type Rollout, trainedTokens } from '../rollout.js';

/** How far a sampler is from the policy that is trained, of the tokens that are trained. */
export interface SamplerMismatch {
  readonly tokens: number;
  /** Mean of d = log p_sampler - log π: the k1 estimate of KL(sampler ‖ π), 0 for one and the same (tinker's `kl_sample_train_v1`). */
  readonly v1: number;
  /** Mean of d²/2, its k2 estimate, which does not cancel (`kl_sample_train_v2`). */
  readonly v2: number;
  /** Mean of e^-d - 1 + d, its k3 estimate. */
  readonly k3: number;
  /** Mean of |d|. */
  readonly mean: number;
  /** The largest |d|. */
  readonly max: number;
  /** χ² of the tokens' ratios π / p_sampler, E[ρ²] - 1. */
  readonly chi2Token: number;
  /** The same of whole completions, whose ratio is the product. */
  readonly chi2Sequence: number;
  /** The same of the geometric means over completions. */
  readonly chi2Geometric: number;
  /** (Σρ)² / (n Σρ²) of the tokens: which share of them as many of weight 1 would be worth. */
  readonly effectiveSampleSize: number;
  /** Mean over completions of how much the log-perplexity is larger under π. */
  readonly logPerplexityGap: number;
}

/** As far as a log-ratio counts, as in verl. */
const LARGEST = 20;
const bounded = (x: number) => Math.min(LARGEST, Math.max(-LARGEST, x));
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/**
 * The numerics check of a run with another sampler than the trained policy: `samplerLogProbs` against `oldLogProbs` (of `oldLogProbs: 'recomputed'`), in
 * float64. With one set of kernels all is 0 but for rounding; a number that is not names what `truncatedImportance` or `rejectMismatch` have to
 * correct for. Estimates are verl's `compute_offpolicy_metrics` and tinker-cookbook's.
 *
 * @throws PosttrainError SAMPLER_MISMATCH where no rollout has a trained token, or one lacks `samplerLogProbs`
 */
export function samplerMismatch(
  rollouts: readonly Pick<Rollout, 'completionTokens' | 'mask' | 'oldLogProbs' | 'samplerLogProbs'>[],
): SamplerMismatch {
  const wrong = (problem: string) => new PosttrainError('SAMPLER_MISMATCH', `samplerMismatch: ${problem}`);
  const differences = rollouts.map(({ samplerLogProbs, oldLogProbs, ...rollout }, i) => {
    if (!samplerLogProbs) throw wrong(`rollout ${i} has no samplerLogProbs; take rollouts of a source, as they come`);
    return trainedTokens(rollout).flatMap((trained, t) => (trained ? [samplerLogProbs[t]! - oldLogProbs[t]!] : []));
  });
  const completions = differences.filter((own) => own.length > 0);
  const all = completions.flat();
  if (all.length === 0) throw wrong('no rollout has a trained token');
  const ratios = all.map((d) => Math.exp(bounded(-d)));
  const sum = (own: readonly number[]) => own.reduce((a, b) => a + b, 0);
  const squares = mean(ratios.map((ratio) => ratio ** 2));
  const chi2 = (of: (own: readonly number[]) => number) =>
    mean(completions.map((own) => Math.exp(2 * bounded(-of(own))))) - 1;
  return {
    tokens: all.length,
    v1: mean(all),
    v2: mean(all.map((d) => d ** 2 / 2)),
    k3: mean(all.map((d) => Math.exp(-d) - 1 + d)),
    mean: mean(all.map(Math.abs)),
    max: all.reduce((most, d) => Math.max(most, Math.abs(d)), 0),
    chi2Token: squares - 1,
    chi2Sequence: chi2(sum),
    chi2Geometric: chi2((own) => sum(own) / own.length),
    effectiveSampleSize: mean(ratios) ** 2 / squares,
    logPerplexityGap: mean(completions.map((own) => sum(own) / own.length)),
  };
}
