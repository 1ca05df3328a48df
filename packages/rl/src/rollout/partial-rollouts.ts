import { custom, type Given, integer, options, settingsOf } from '@posttrain/interfaces';
import { contextOf, type LocalGenerateRequest } from '@posttrain/lm';
import { cloneState } from '@posttrain/training';
import type { PromptRow } from '../rewards/reward.js';
import type { SampledRollout } from '../rollout.js';
import { policyVersion } from './policy-version.js';
import {
  generatorOf,
  type RolloutRequest,
  type RolloutSource,
  type SamplingRequest,
  seedOf,
} from './rollout-source.js';
import type { OpenGroup, Segment } from './segments.js';

const partialOptions = options('partialRollouts', {
  /** Most tokens that a completion gets in a step; what is not done then goes on in the next one. */
  segmentTokens: integer({ min: 1 }),
  /**
   * Staleness bound: a group that began so many steps before is run to its end, however long that is, so that no token that is learnt from is of an
   * older policy than that. Default: none.
   */
  maxStaleness: integer({ optional: true, min: 1 }),
  /** Where segments are sampled: `fleetRollouts`, whose servers go on with what others have begun. Default: the model in process. */
  source: custom<Pick<RolloutSource, 'name' | 'settings' | 'goOn'>>()(
    'a source of rollouts that goes on with completions, such as fleetRollouts({ … })',
    (value) => typeof (value as Partial<RolloutSource> | null | undefined)?.goOn === 'function',
    { optional: true, settings: (source) => settingsOf(source) },
  ),
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
 * With `source: fleetRollouts({ … })` segments are of servers, each of the version that the fleet has then; a server that is lost loses the segments that it
 * is at, and nothing of what was there before. Our own servers go on with the random numbers of the start; others draw further ones, by a seed of each segment.
 *
 * @throws OptionError
 */
export function partialRollouts(given: PartialRolloutsOptions): RolloutSource {
  const { segmentTokens, maxStaleness = Number.POSITIVE_INFINITY, source } = partialOptions.read(given);
  const sample = (request: SamplingRequest, groups: readonly OpenGroup[]) =>
    source ? source.goOn!(request, groups) : localSegments(request, groups);
  let pending: readonly BegunGroup[] = [];

  /** A segment of every completion that has not ended. */
  const goOn = async (request: RolloutRequest, groups: readonly BegunGroup[]): Promise<BegunGroup[]> => {
    const { model, adapter, sampling, step, signal } = request;
    const context = contextOf(model.config, adapter);
    /** Of a completion; one that has filled the context has ended. */
    const longest = ({ prompt }: BegunGroup) =>
      Math.min(sampling.maxTokens ?? Number.POSITIVE_INFINITY, context - prompt.length);
    const most = (group: BegunGroup, { tokenIds }: Begun) =>
      step - group.since >= maxStaleness ? longest(group) : Math.min(tokenIds.length + segmentTokens, longest(group));
    const open = groups.flatMap((group, g) => {
      const { row, prompt } = group;
      const completions = group.completions.filter(isOpen).map((one) => ({ ...one, maxTokens: most(group, one) }));
      const asked = { group: request.firstGroup + g, prompt, continuesText: typeof row.prompt === 'string' };
      return completions.length > 0 ? [{ group, asked: { ...asked, completions } }] : [];
    });
    const answers = await sample(
      request,
      open.map(({ asked }) => asked),
    );
    signal?.throwIfAborted();
    const segments = new Map(open.map(({ group }, i) => [group, answers[i]!]));
    return groups.map((group) => {
      let next = 0;
      const goneOn = (one: Begun): Begun => {
        const { tokenIds, logProbs, text, finishReason, version } = segments.get(group)![next++]!;
        const isCut =
          finishReason === 'length' && tokenIds.length >= most(group, one) && most(group, one) < longest(group);
        return {
          ...{ seed: one.seed, tokenIds, logProbs, text },
          versions: [...one.versions, ...tokenIds.slice(one.tokenIds.length).map(() => version)],
          finishReason: isCut ? null : finishReason,
        };
      };
      return { ...group, completions: group.completions.map((one) => (isOpen(one) ? goneOn(one) : one)) };
    });
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
      while (groups.length > 0 && !groups.some(isDone));
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

const isOpen = ({ finishReason }: Begun): boolean => finishReason === null;
const isDone = ({ completions }: BegunGroup): boolean => !completions.some(isOpen);

/** Segments of the model in process. */
async function localSegments(
  request: SamplingRequest,
  groups: readonly OpenGroup[],
): Promise<readonly (readonly Segment[])[]> {
  const { sampling, step, policyStep: version = step, signal } = request;
  const asked = groups.flatMap(({ prompt, continuesText, completions }) =>
    completions.map(
      (one): LocalGenerateRequest => ({
        ...sampling,
        prompt: { tokenIds: prompt, continuesText },
        ...{ seed: one.seed, maxTokens: one.maxTokens, logProbs: true, ...(signal && { signal }) },
        ...(one.tokenIds.length > 0 && { begun: one }),
      }),
    ),
  );
  const answers = (await generatorOf(request).generate(asked)).flat();
  let next = 0;
  return groups.map(({ completions }) =>
    completions.map((): Segment => {
      const { tokenIds, logProbs, text, finishReason } = answers[next++]!;
      return { tokenIds: tokenIds!, logProbs: logProbs!, text, finishReason, version };
    }),
  );
}
