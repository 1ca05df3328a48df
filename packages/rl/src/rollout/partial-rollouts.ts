import { type Given, integer, options } from '@posttrain/interfaces';
import type { LocalGenerateRequest } from '@posttrain/lm';
import { cloneState } from '@posttrain/training';
import type { PromptRow } from '../rewards/reward.js';
import type { SampledRollout } from '../rollout.js';
import { rolloutField } from '../rollout-field.js';
import { generatorOf, type RolloutRequest, type RolloutSource, seedOf } from './rollout-source.js';

const partialOptions = options('partialRollouts', {
  /** Most tokens that a completion gets in a step; what is not done then goes on in the next one. */
  segmentTokens: integer({ min: 1 }),
});
/** Options of `partialRollouts`. */
export type PartialRolloutsOptions = Given<typeof partialOptions>;

/** A completion that goes on, or waits for those of its group. */
interface Begun {
  readonly seed: number;
  readonly tokenIds: readonly number[];
  readonly logProbs: readonly number[];
  /** The training step in which each token was sampled. */
  readonly steps: readonly number[];
  readonly text: string;
  /** null while it goes on. */
  readonly finishReason: SampledRollout['finishReason'] | null;
}

interface BegunGroup {
  readonly row: PromptRow;
  readonly prompt: readonly number[];
  readonly completions: readonly Begun[];
}

/** The training step in which each token of a partial rollout was sampled: of which policy it is. */
export const partialRolloutSteps = rolloutField('partial-rollouts.step', { per: 'token' });

/**
 * Partial rollouts (Kimi k1.5, arXiv 2501.12599, section 2.6.2): no completion gets more than `segmentTokens` tokens in a step; those that are
 * longer are kept and go on in the next steps, with the policy of then, so that a few long ones do not hold up the rest. A group is given when
 * all of it has ended: a step has what has ended in it, of rows of earlier steps too, and goes on until there is one group at least.
 *
 * A completion that is resumed draws the random numbers that it would have drawn without a stop: under one policy it is the same, token by
 * token. Its tokens are of several policies, so a run recomputes log π_old (`oldLogProbs: 'recomputed'`) and may correct by
 * `truncatedImportance`; `partialRolloutSteps` says which is of which step. What has begun is its state. Evaluations sample whole completions.
 *
 * @throws OptionError
 */
export function partialRollouts(given: PartialRolloutsOptions): RolloutSource {
  const { segmentTokens } = partialOptions.read(given);
  let pending: readonly BegunGroup[] = [];

  /** A segment of every completion that has not ended. */
  const goOn = async (request: RolloutRequest, groups: readonly BegunGroup[]): Promise<BegunGroup[]> => {
    const { sampling, step, signal } = request;
    const asked: LocalGenerateRequest[] = [];
    const most = (begun: Begun) => Math.min(begun.tokenIds.length + segmentTokens, sampling.maxTokens ?? Infinity);
    const open = groups.map(({ completions }) => completions.filter(({ finishReason }) => finishReason === null));
    groups.forEach(({ row, prompt }, g) => {
      for (const one of open[g]!) {
        asked.push({
          ...sampling,
          prompt: { tokenIds: prompt, continuesText: typeof row.prompt === 'string' },
          ...{ seed: one.seed, maxTokens: most(one), logProbs: true, ...(signal && { signal }) },
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
        const isCut = finishReason === 'length' && tokenIds!.length >= most(one) && most(one) !== sampling.maxTokens;
        return {
          ...{ seed: one.seed, tokenIds: tokenIds!, logProbs: logProbs!, text },
          steps: [...one.steps, ...tokenIds!.slice(one.tokenIds.length).map(() => step)],
          finishReason: isCut ? null : finishReason,
        };
      }),
    }));
  };

  return {
    name: 'partial-rollouts',
    settings: partialOptions.settings(given),
    isOffPolicy: true,
    gives: [partialRolloutSteps.need],
    async sample(request) {
      request.signal?.throwIfAborted();
      const { rows, prompts, completionsPerPrompt: n, key, firstGroup } = request;
      const fresh = rows.map((row, i): BegunGroup => {
        const seed = seedOf(key.child(i));
        const begin = (_: unknown, k: number): Begun => {
          return { seed: seed + k, tokenIds: [], logProbs: [], steps: [], text: '', finishReason: null };
        };
        return { row, prompt: prompts[i]!, completions: Array.from({ length: n }, begin) };
      });
      // Kept only when all of it has worked: a step that a signal has ended is done again.
      let groups: readonly BegunGroup[] = [...pending, ...fresh];
      do groups = await goOn(request, groups);
      while (!groups.some(isDone));
      pending = groups.filter((group) => !isDone(group));
      return groups.filter(isDone).flatMap(({ row, prompt, completions }, g) =>
        completions.map(({ tokenIds, logProbs, text, finishReason, steps }): SampledRollout => {
          const rollout = { group: firstGroup + g, row, promptTokens: prompt, text, finishReason: finishReason! };
          return partialRolloutSteps.on({ ...rollout, completionTokens: tokenIds, samplerLogProbs: logProbs }, steps);
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
