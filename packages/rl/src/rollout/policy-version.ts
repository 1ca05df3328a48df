import type { Metrics } from '@posttrain/training';
import { type Rollout, trainedTokens } from '../rollout.js';
import { rolloutField } from '../rollout-field.js';
import type { RolloutSource, SamplingRequest } from './rollout-source.js';

/**
 * Policy version of each token: the training step before whose update the policy was that the token was drawn from, counted from 0 (AReaL, arXiv
 * 2505.24298, calls it the version; `weight_version` of servers). A completion that went on over several steps has several. `samplerLogProbs` of a
 * token are of this version, so that `truncatedImportance` and `rejectMismatch` correct each token for the policy that it is of.
 *
 * Rollouts of a source that samples from the policy itself have it by themselves; of the others, `fleetRollouts`, `partialRollouts`,
 * `externalSampler` and `prioritizedReplay` give it. A fixed log has none.
 */
export const policyVersion = rolloutField('rl.policy_version', { per: 'token' });

/** Tokens of one policy that follow each other. */
export interface VersionSpan {
  readonly version: number;
  readonly tokens: number;
}

/** The versions of a rollout's tokens, in their order; undefined where it does not say. */
export function versionSpans(rollout: Pick<Rollout, 'extras'>): readonly VersionSpan[] | undefined {
  if (rollout.extras?.[policyVersion.name] === undefined) return undefined;
  const spans: { version: number; tokens: number }[] = [];
  for (const version of Array.from(policyVersion.of(rollout))) {
    const last = spans.at(-1);
    if (last?.version === version) last.tokens++;
    else spans.push({ version, tokens: 1 });
  }
  return spans;
}

/**
 * Rollouts of a source that samples from the policy of the request, with that one's version, as of one that runs ahead and does not say; others as
 * they are.
 */
export function withPolicyVersion<R extends Pick<Rollout, 'extras' | 'completionTokens'>>(
  rollouts: readonly R[],
  { isOffPolicy, givesOldLogProbs }: Pick<RolloutSource, 'isOffPolicy' | 'givesOldLogProbs'>,
  { step, policyStep }: Pick<SamplingRequest, 'step' | 'policyStep'>,
): readonly R[] {
  if (isOffPolicy && !givesOldLogProbs && policyStep === undefined) return rollouts;
  const version = policyStep ?? step;
  return rollouts.map((rollout) =>
    policyVersion.name in (rollout.extras ?? {})
      ? rollout
      : policyVersion.on(
          rollout,
          rollout.completionTokens.map(() => version),
        ),
  );
}

/**
 * How old the policies are that the trained tokens of a step are of, in steps: `rollouts/staleness` their mean, `rollouts/staleness_max`, and
 * `rollouts/mixed_versions` the share of completions with tokens of several. Nothing where a rollout does not say.
 */
export function stalenessMetrics(
  rollouts: readonly Pick<Rollout, 'completionTokens' | 'mask' | 'extras'>[],
  step: number,
): Metrics {
  const spans = rollouts.map(versionSpans);
  if (rollouts.length === 0 || spans.includes(undefined)) return {};
  const ages = rollouts.flatMap((rollout) => {
    const versions = policyVersion.of(rollout);
    return trainedTokens(rollout).flatMap((trained, t) => (trained ? [step - versions[t]!] : []));
  });
  return {
    ...(ages.length > 0 && {
      'rollouts/staleness': ages.reduce((a, b) => a + b, 0) / ages.length,
      'rollouts/staleness_max': ages.reduce((a, b) => Math.max(a, b), 0),
    }),
    'rollouts/mixed_versions': spans.filter((own) => own!.length > 1).length / rollouts.length,
  };
}
