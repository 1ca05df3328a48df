import { type Adapter, type CausalLM, sequenceLogProbs } from '@posttrain/lm';
import type { Metrics, Trainer } from '@posttrain/training';
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
  const recomputed =
    options.oldLogProbs === 'recomputed' ? await logProbsUnder(trainer.model, trainer.adapter) : undefined;
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
  const differences = scored.flatMap((rollout, i) =>
    trainedTokens(rollout).flatMap((isTrained, t) =>
      isTrained ? [Math.abs((rollout.oldLogProbs ?? rollout.samplerLogProbs)[t]! - recomputed[i]![t]!)] : [],
    ),
  );
  const metrics = {
    'sampling/sampling_logp_difference/mean': differences.reduce((a, b) => a + b, 0) / differences.length,
    'sampling/sampling_logp_difference/max': differences.reduce((a, b) => Math.max(a, b), 0),
  };
  return { rollouts, metrics };
}
