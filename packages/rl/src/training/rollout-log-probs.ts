import { type Adapter, type CausalLM, sequenceLogProbs } from '@posttrain/lm';
import type { Metrics, Trainer } from '@posttrain/training';
import type { Rollout } from '../objective/policy-objective.js';
import type { PolicySettings } from './policy-options.js';
import type { RewardedGroup } from './rollouts.js';

/** Rollouts of what was sampled: with log π_old and, when asked for, log π_ref. */
export async function withLogProbs(
  groups: readonly RewardedGroup[],
  trainer: Trainer,
  needsReference: boolean,
  options: PolicySettings,
): Promise<{ readonly rollouts: Rollout[][]; readonly metrics: Metrics }> {
  const { model, temperature, maxTokensPerPass } = options;
  const completions = groups.flatMap((group) =>
    group.completions.map((completion) => ({ ...completion, promptTokens: group.promptTokens })),
  );
  const sequences = completions.map(({ promptTokens, tokens }) => [...promptTokens, ...tokens]);
  const logProbsUnder = async (policy: CausalLM, adapter: Adapter) => {
    const scoring = { adapter, temperature, maxTokensPerPass };
    const scored = await sequenceLogProbs(policy, sequences, scoring);
    return scored.map(({ logProbs }, i) => logProbs.subarray(completions[i]!.promptTokens.length - 1));
  };
  const recomputed =
    options.oldLogProbs === 'recomputed' ? await logProbsUnder(trainer.model, trainer.adapter) : undefined;
  const reference = needsReference ? await logProbsUnder(model, options.reference) : undefined;
  const rollouts = completions.map(({ promptTokens, tokens, logProbs, finishReason, reward }, i): Rollout => {
    const masked = options.maskTruncatedCompletions && finishReason === 'length';
    return {
      promptTokens,
      completionTokens: tokens,
      reward,
      oldLogProbs: recomputed?.[i] ?? logProbs,
      ...(masked ? { mask: tokens.map(() => 0) } : {}),
      ...(reference ? { referenceLogProbs: reference[i]! } : {}),
    };
  });
  let next = 0;
  const grouped = groups.map((group) => group.completions.map(() => rollouts[next++]!));
  if (!recomputed) return { rollouts: grouped, metrics: {} };
  const differences = completions.flatMap(({ logProbs }, i) =>
    logProbs.map((p, t) => Math.abs(p - recomputed[i]![t]!)),
  );
  const metrics = {
    'sampling/sampling_logp_difference/mean': differences.reduce((a, b) => a + b, 0) / differences.length,
    'sampling/sampling_logp_difference/max': differences.reduce((a, b) => Math.max(a, b), 0),
  };
  return { rollouts: grouped, metrics };
}
