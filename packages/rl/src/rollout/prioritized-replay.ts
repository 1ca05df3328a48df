import type { Key } from '@posttrain/core-tensor';
import { custom, type Given, integer, number, options, settingsOf } from '@posttrain/interfaces';
import { cloneState } from '@posttrain/training';
import type { Advantage } from '../advantage/advantage.js';
import { groupsOf, type Rollout, type SampledRollout, trainedTokens } from '../rollout.js';
import { rolloutField } from '../rollout-field.js';
import { withPolicyVersion } from './policy-version.js';
import type { RolloutRequest, RolloutSource } from './rollout-source.js';
import { singleTurn } from './single-turn.js';

const replayOptions = options('prioritizedReplay', {
  /** What new rollouts come from. Default `singleTurn()`. */
  source: custom<RolloutSource>()(
    'a source of rollouts, such as singleTurn()',
    (value) => typeof (value as Partial<RolloutSource> | null | undefined)?.sample === 'function',
    { optional: true, settings: (source) => settingsOf(source) },
  ),
  /** Most groups that are kept; the oldest leave first. Default 256. */
  capacity: integer({ default: 256, min: 1 }),
  /** How likely a group of the buffer comes in the place of a new one, once there is one. Default 0.5. */
  probability: number({ default: 0.5, min: 0, max: 1 }),
  /** α: how much priorities count; 0 draws all groups alike. Default 0.6, as in the paper. */
  alpha: number({ default: 0.6, min: 0 }),
  /** β: how far `importanceWeighted` makes up for what is drawn more; 1: wholly. Default 0.4, as in the paper. */
  beta: number({ default: 0.4, min: 0, max: 1 }),
  /** ε: added to priorities, so that no group is never drawn. Default 1e-6. */
  epsilon: number({ default: 1e-6, above: 0 }),
});
/** Options of `prioritizedReplay`. */
export type PrioritizedReplayOptions = Given<typeof replayOptions>;

/** w of a replayed rollout, 1 of a new one. */
const importance = rolloutField('prioritized-replay.weight', { per: 'rollout' });
/** Which group of the buffer a rollout is of. */
const origin = rolloutField('prioritized-replay.group', { per: 'rollout' });

/** A group as it was sampled, and the priority of what was last learnt from it. */
interface Kept {
  readonly id: number;
  readonly priority: number;
  readonly rollouts: readonly Omit<SampledRollout, 'group'>[];
}

interface ReplayState {
  readonly next: number;
  readonly kept: readonly Kept[];
}

/** Of the keys of a request, rows have those from 0 up; the draws of the buffer have this one. */
const DRAWS = 2 ** 32 - 2;

/**
 * Prioritised experience replay (arXiv 1511.05952), of groups of rollouts: each row of a step is sampled from anew, or a group of the
 * buffer stands in its place, drawn with P(i) = p_i^α / Σ p^α, where p_i = mean |A| + ε over the trained tokens of the group when it was
 * last learnt from (the advantage in the place of the TD error). Rewards are those of then, and `samplerLogProbs` those of the policy of then, so
 * that a run recomputes log π_old (`oldLogProbs: 'recomputed'`) and `truncatedImportance` corrects for the difference. w_i = (N P(i))^-β / max w, which the
 * paper multiplies the error by, is what `importanceWeighted` multiplies advantages by. Evaluations sample anew. The buffer is its state.
 *
 * @throws OptionError
 */
export function prioritizedReplay(given: PrioritizedReplayOptions = {}): RolloutSource {
  const { source = singleTurn(), capacity, probability, alpha, beta, epsilon } = replayOptions.read(given);
  let next = 0;
  let kept: readonly Kept[] = [];

  /** Where a group of the buffer stands in a row's place, which, and w. */
  const draw = (
    key: Key,
    chances: readonly number[],
  ): { readonly group: Kept; readonly weight: number } | undefined => {
    const [whether, which] = key.uniformHost(2) as unknown as readonly [number, number];
    if (kept.length === 0 || whether >= probability) return undefined;
    let left = which;
    const found = chances.findIndex((chance) => {
      left -= chance;
      return left < 0;
    });
    const at = found < 0 ? chances.length - 1 : found;
    return { group: kept[at]!, weight: (chances[at]! / Math.min(...chances)) ** -beta };
  };

  return {
    name: `prioritized-replay(${source.name})`,
    settings: replayOptions.settings(given),
    isOffPolicy: true,
    gives: [importance.need, ...(source.gives ?? [])],
    evaluated: source.evaluated ?? source,
    async sample(request) {
      const powers = kept.map(({ priority }) => priority ** alpha);
      const sum = powers.reduce((a, b) => a + b, 0);
      const chances = powers.map((power) => power / sum);
      const draws = request.rows.map((_, i) => draw(request.key.child(DRAWS).child(i), chances));
      const fresh = [...draws.keys()].filter((i) => !draws[i]);
      const sampled = fresh.length > 0 ? await source.sample(partOf(request, fresh)) : [];
      request.signal?.throwIfAborted();
      const anew = withPolicyVersion(sampled, source, request).map((rollout) => {
        const group = request.firstGroup + fresh[rollout.group - request.firstGroup]!;
        return importance.on({ ...rollout, group }, 1);
      });
      const again: SampledRollout[] = [];
      draws.forEach((drawn, i) => {
        const before = anew.length + again.length;
        for (const { parent, ...rollout } of cloneState(drawn?.group.rollouts ?? [])) {
          const at = { group: request.firstGroup + i, ...(parent !== undefined && { parent: before + parent }) };
          again.push(origin.on(importance.on({ ...rollout, ...at }, drawn!.weight), drawn!.group.id));
        }
      });
      return [...anew, ...again];
    },
    async feedback(rollouts, context) {
      const groups = groupsOf(rollouts.map((one, place) => ({ ...one, place, advantage: context.advantages[place]! })));
      const changed = new Map(kept.map((group) => [group.id, group]));
      for (const group of groups) {
        const priority = meanSize(group) + epsilon;
        const known = group[0]!.extras?.[origin.name] as number | undefined;
        const before = known === undefined ? undefined : changed.get(known);
        if (before) changed.set(before.id, { ...before, priority });
        else if (known === undefined) {
          changed.set(next, { id: next, priority, rollouts: group.map((one) => asSampled(one, group)) });
          next++;
        }
      }
      kept = [...changed.values()].slice(-capacity);
      await source.feedback?.(rollouts, context);
    },
    state: async () => ({ next, kept, ...(source.state && { source: await source.state() }) }),
    async load(state) {
      const saved = state as ReplayState & { readonly source?: unknown };
      [next, kept] = [saved.next, saved.kept];
      await source.load?.(saved.source);
    },
  };
}

/** The rows of a request that are sampled from. */
const partOf = (request: RolloutRequest, places: readonly number[]): RolloutRequest => ({
  ...request,
  rows: places.map((i) => request.rows[i]!),
  prompts: places.map((i) => request.prompts[i]!),
});

type Learnt = Rollout & { readonly place: number; readonly advantage: number | ArrayLike<number> };

/** Mean |A| over the trained tokens of a group. */
function meanSize(group: readonly Learnt[]): number {
  const sizes = group.flatMap((rollout) => {
    const { advantage } = rollout;
    const at = (t: number) => Math.abs(typeof advantage === 'number' ? advantage : advantage[t]!);
    return trainedTokens(rollout).flatMap((isTrained, t) => (isTrained ? [at(t)] : []));
  });
  return sizes.length === 0 ? 0 : sizes.reduce((a, b) => a + b) / sizes.length;
}

/**
 * What a rollout was before annotators and the trainer came, in memory of its own: with its row, which is another object than the
 * run's from the first time on, as it is in a resumed run.
 */
function asSampled(learnt: Learnt, group: readonly Learnt[]): Kept['rollouts'][number] {
  const ofRun = ['group', 'place', 'advantage', 'values', 'endValue', 'baseline', 'oldLogProbs', 'referenceLogProbs'];
  const sampled = Object.fromEntries(Object.entries(learnt).filter(([name]) => !ofRun.includes(name)));
  const parent = group.findIndex(({ place }) => place === learnt.parent);
  const { parent: _, ...others } = sampled as unknown as SampledRollout;
  return cloneState({
    ...others,
    ...(parent >= 0 && { parent }),
    // Of the rollouts that are kept most numbers are these.
    completionTokens: [...learnt.completionTokens],
    samplerLogProbs: Float64Array.from(learnt.samplerLogProbs!),
  });
}

/**
 * The advantage times w of a rollout that `prioritizedReplay` has drawn (arXiv 1511.05952, § 3.4), which makes up for that some
 * groups are drawn more than others.
 */
export function importanceWeighted(advantage: Advantage): Advantage {
  return {
    ...advantage,
    name: `importance-weighted(${advantage.name})`,
    settings: { ...advantage.settings },
    needs: [...(advantage.needs ?? []), importance.need],
    compute: (rollouts) =>
      advantage.compute(rollouts).map((own, i) => {
        const weight = importance.of(rollouts[i]!);
        return typeof own === 'number' ? own * weight : Array.from(own, (value) => value * weight);
      }),
  };
}
