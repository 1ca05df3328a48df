import { PosttrainError } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, sequenceLogProbs } from '@posttrain/lm';
import type { Metrics, Trainer } from '@posttrain/training';
import { isLossObjective } from '../objective/policy-objective.js';
import { samplerMismatch } from '../rollout/sampler-mismatch.js';
import { type Rollout, type ScoredRollout, trainedTokens } from '../rollout.js';
import { type PolicySettings, referenceOf } from './policy-options.js';

/** The rollouts with log π_old and, when asked for, log π_ref. */
export async function withLogProbs(
  scored: readonly ScoredRollout[],
  trainer: Trainer,
  needsReference: boolean,
  options: PolicySettings,
): Promise<{ readonly rollouts: readonly Rollout[]; readonly metrics: Metrics }> {
  const { model, temperature, maxTokensPerPass } = options;
  const sequences = scored.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
  const logProbsUnder = async (policy: CausalLM, adapter: Adapter) => {
    const scoring = { adapter, temperature, maxTokensPerPass };
    const results = await sequenceLogProbs(policy, sequences, scoring);
    return results.map(({ logProbs }, i) => logProbs.subarray(scored[i]!.promptTokens.length - 1));
  };
  const recompute = () => {
    const mask = isLossObjective(options.objective) ? undefined : options.objective.samplingMask;
    return mask ? mask.logProbsOf(trainer, scored, temperature) : logProbsUnder(trainer.model, trainer.adapter);
  };
  const recomputed: readonly ArrayLike<number>[] | undefined =
    options.oldLogProbs === 'recomputed' ? await recompute() : undefined;
  const reference = needsReference ? await logProbsUnder(model, referenceOf(options)) : undefined;
  const rollouts = scored.map((rollout, i): Rollout => {
    const masked = options.maskTruncatedCompletions && rollout.finishReason === 'length';
    return {
      ...rollout,
      oldLogProbs: recomputed?.[i] ?? rollout.oldLogProbs ?? rollout.samplerLogProbs,
      ...(masked ? { mask: rollout.completionTokens.map(() => 0) } : {}),
      ...(reference ? { referenceLogProbs: reference[i]! } : {}),
    };
  });
  if (!recomputed) return { rollouts, metrics: {} };
  // A source with another sampler has said what the policy itself thinks: that is compared.
  const compared = scored.map((rollout, i) => ({
    ...rollout,
    oldLogProbs: recomputed[i]!,
    samplerLogProbs: rollout.oldLogProbs ?? rollout.samplerLogProbs,
  }));
  return { rollouts, metrics: mismatchMetrics(compared, options) };
}

/** What sampler and trainer say of the same tokens. @throws PosttrainError SAMPLER_MISMATCH above the stated bound */
function mismatchMetrics(
  rollouts: Parameters<typeof samplerMismatch>[0],
  { maxLogProbDifference: bound }: PolicySettings,
): Metrics {
  if (!rollouts.some((rollout) => trainedTokens(rollout).includes(1))) return {};
  const found = samplerMismatch(rollouts);
  if (bound !== undefined && !(found.max <= bound)) {
    const problem = `the sampler and the trainer differ by ${found.max} in the log-probability of a token (mean ${found.v1}, half the mean square ${found.v2})`;
    const remedy = `above maxLogProbDifference, ${bound}; make them compute alike, or raise it and correct by truncatedImportance or rejectMismatch`;
    throw new PosttrainError('SAMPLER_MISMATCH', `trainPolicy: ${problem}, ${remedy}`);
  }
  return {
    'sampling/sampling_logp_difference/mean': found.mean,
    'sampling/sampling_logp_difference/max': found.max,
    'sampling/kl_v1': found.v1,
    'sampling/kl_v2': found.v2,
    'sampling/kl_k3': found.k3,
    'sampling/chi2_token': found.chi2Token,
    'sampling/chi2_sequence': found.chi2Sequence,
    'sampling/effective_sample_size': found.effectiveSampleSize,
    'sampling/log_perplexity_gap': found.logPerplexityGap,
  };
}
