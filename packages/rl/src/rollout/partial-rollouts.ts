import { type Given, integer, options } from '@posttrain/interfaces';
import type { LocalGenerateRequest } from '@posttrain/lm';
import { cloneState } from '@posttrain/training';
import type { PromptRow } from '../rewards/reward.js';
import type { SampledRollout } from '../rollout.js';
import { policyVersion } from './policy-version.js';
import { generatorOf, type RolloutRequest, type RolloutSource, seedOf } from './rollout-source.js';

const partialOptions = options('partialRollouts', {
  /** Most tokens that a completion gets in a step; what is not done then goes on in the next one. */
  segmentTokens: integer({ min: 1 }),
  /**
   * Staleness bound: a group that began so many steps before is run to its end, however long that is, so that no token that is learnt from is of an
   * older policy than that. Default: none.
   */
  maxStaleness: integer({ optional: true, min: 1 }),
});
/** Options of `partialRollouts`. */
export type PartialRolloutsOptions = Given<typeof partialOptions>;

/** A completion that goes on, or waits for those of its group. */
interface Begun {
  readonly seed: number;
  readonly tokenIds: readonly number[];
  readonly logProbs: readonly number[];
  /** Of which policy each token is. */
  readonly versions: readonly number[];
  readonly text: string;
  /** null while it goes on. */
  readonly finishReason: SampledRollout['finishReason'] | null;
}

interface BegunGroup {
  readonly row: PromptRow;
  /** The step in which it began. */
  readonly since: number;
  readonly prompt: readonly number[];
  readonly completions: readonly Begun[];
}

/**
 * Partial rollouts (Kimi k1.5, arXiv 2501.12599, section 2.6.2): no completion gets more than `segmentTokens` tokens in a step; those that are
 * longer are kept and go on in the next steps, with the policy of then, so that a few long ones do not hold up the rest. A group is given when
 * all of it has ended: a step has what has ended in it, of rows of earlier steps too, and goes on until there is one group at least.
 *
 * A completion that is resumed draws the random numbers that it would have drawn without a stop: under one policy it is the same, token by
 * token. Its tokens are of several policies, so a run recomputes log π_old (`oldLogProbs: 'recomputed'`) and may correct by
 * `truncatedImportance`; `policyVersion` says which token is of which. What has begun is its state. Evaluations sample whole completions.
 *
 * @throws OptionError
 */
export function partialRollouts(given: PartialRolloutsOptions): RolloutSource {
  const { segmentTokens, maxStaleness = Number.POSITIVE_INFINITY } = partialOptions.read(given);
  let pending: readonly BegunGroup[] = [];

  /** A segment of every completion that has not ended. */
  const goOn = async (request: RolloutRequest, groups: readonly BegunGroup[]): Promise<BegunGroup[]> => {
    const { sampling, step, policyStep: version = step, signal } = request;
    const longest = sampling.maxTokens ?? Number.POSITIVE_INFINITY;
    const asked: LocalGenerateRequest[] = [];
    const most = ({ since }: BegunGroup, { tokenIds }: Begun) =>
      step - since >= maxStaleness ? longest : Math.min(tokenIds.length + segmentTokens, longest);
    const open = groups.map(({ completions }) => completions.filter(({ finishReason }) => finishReason === null));
    groups.forEach((group, g) => {
      const { row, prompt } = group;
      for (const one of open[g]!) {
        const maxTokens = most(group, one);
        asked.push({
          ...sampling,
          prompt: { tokenIds: prompt, continuesText: typeof row.prompt === 'string' },
          ...{ seed: one.seed, logProbs: true, ...(signal && { signal }) },
          ...(Number.isFinite(maxTokens) && { maxTokens }),
          ...(one.tokenIds.length > 0 && { begun: one }),
        });
      }
    });
    const answers = (await generatorOf(request).generate(asked)).flat();
    signal?.throwIfAborted();
    let next = 0;
    return groups.map((group) => ({
      ...group,
      completions: group.completions.map((one): Begun => {
        if (one.finishReason !== null) return one;
        const { tokenIds, logProbs, text, finishReason } = answers[next++]!;
        const isCut = finishReason === 'length' && tokenIds!.length >= most(group, one) && most(group, one) < longest;
        return {
          ...{ seed: one.seed, tokenIds: tokenIds!, logProbs: logProbs!, text },
          versions: [...one.versions, ...tokenIds!.slice(one.tokenIds.length).map(() => version)],
          finishReason: isCut ? null : finishReason,
        };
      }),
    }));
  };

  return {
    name: 'partial-rollouts',
    settings: partialOptions.settings(given),
    isOffPolicy: true,
    gives: [policyVersion.need],
    async sample(request) {
      request.signal?.throwIfAborted();
      const { rows, prompts, completionsPerPrompt: n, key, firstGroup, step } = request;
      const fresh = rows.map((row, i): BegunGroup => {
        const seed = seedOf(key.child(i));
        const begin = (_: unknown, k: number): Begun => {
          return { seed: seed + k, tokenIds: [], logProbs: [], versions: [], text: '', finishReason: null };
        };
        return { row, since: step, prompt: prompts[i]!, completions: Array.from({ length: n }, begin) };
      });
      // Kept only when all of it has worked: a step that a signal has ended is done again.
      let groups: readonly BegunGroup[] = [...pending, ...fresh];
      do groups = await goOn(request, groups);
      while (!groups.some(isDone));
      pending = groups.filter((group) => !isDone(group));
      return groups.filter(isDone).flatMap(({ row, prompt, completions }, g) =>
        completions.map(({ tokenIds, logProbs, text, finishReason, versions }): SampledRollout => {
          const rollout = { group: firstGroup + g, row, promptTokens: prompt, text, finishReason: finishReason! };
          return policyVersion.on({ ...rollout, completionTokens: tokenIds, samplerLogProbs: logProbs }, versions);
        }),
      );
    },
    state: () => cloneState({ pending }),
    load(state) {
      pending = (state as { readonly pending: readonly BegunGroup[] }).pending;
    },
  };
}

const isDone = ({ completions }: BegunGroup): boolean => completions.every(({ finishReason }) => finishReason !== null);
