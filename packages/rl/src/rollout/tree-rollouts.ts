import { custom, type Given, integer, listOf, number, options, PosttrainError } from '@posttrain/interfaces';
import type { Annotator } from '../annotator.js';
import { groupsOf, type ScoredRollout, trainedTokens } from '../rollout.js';

const treeOptions = options('treeRollouts', {
  /** Ids of tokens that end a step of reasoning: the states behind them are the tree's nodes. */
  stepTokens: listOf(integer({ min: 0 }), {}),
  /** Rollouts that are added to each group, beside the `completionsPerPrompt` of the run. */
  expansions: integer({ min: 1 }),
  /** Expansions of a group that are made together, before what came of them is counted. Default 1. */
  width: integer({ default: 1, min: 1 }),
  /** c of UCT, in units of the reward. Default 1. */
  exploration: number({ default: 1, min: 0 }),
  /** Which states may be expanded, by the mean reward of the rollouts through them: `(value) => value < 1` leaves out what is solved. Default: all. */
  isOpen: custom<(value: number) => boolean>()('a function of a value', (value) => typeof value === 'function', {
    optional: true,
  }),
});
/** Options of `treeRollouts`. */
export type TreeRolloutsOptions = Given<typeof treeOptions>;

/** A state in the tree of a group: a prefix that some rollout has gone through. */
interface Node {
  readonly rollout: number;
  /** Completion tokens of that rollout up to here. */
  readonly tokens: number;
  /** Rewards of all rollouts through it. */
  readonly rewards: number[];
}

/**
 * Monte Carlo tree search for group-relative objectives (a hybrid of MCTS and GRPO): the run's own rollouts of a prompt are the first leaves of a tree over
 * steps of reasoning; then, so many times, the state with the largest UCT value Q(s) + c √(ln(N + 1) / n(s)) among those that rollouts have gone through is
 * sampled on from, and what comes of it is a further rollout of the group (Q(s) is the mean reward of the n(s) rollouts through it, N that of the
 * prompt). An annotator of an objective whose advantage is of groups: all leaves are compared with each other. A rollout that goes on from another's
 * prefix has mask 0 there (`parent` says whose), so that no token is trained twice as often for being shared. The states of a finished rollout's last
 * step, and the prompt itself, are nodes too.
 *
 * It samples `expansions` more of each prompt: beside it, flat sampling has `completionsPerPrompt` + `expansions`. States that are visited more because they are
 * good make the group's mean higher than the policy's: the advantage is relative to the tree, and not unbiased.
 *
 * @throws OptionError; PosttrainError TREE for rollouts of an environment, which do not go on from a prefix
 */
export function treeRollouts(given: TreeRolloutsOptions): Annotator {
  const { stepTokens, expansions, width, exploration, isOpen = () => true } = treeOptions.read(given);
  const ends = new Set(stepTokens);
  return {
    name: 'tree-rollouts',
    settings: treeOptions.settings(given),
    gives: [],
    async annotate(first, { sample, score }) {
      first.forEach(refuseEpisode);
      const all: ScoredRollout[] = [...first];
      for (let done = 0; done < expansions; done += width) {
        const count = Math.min(width, expansions - done);
        const chosen = groupsOf(all.map((rollout, i) => ({ ...rollout, i }))).flatMap((group) =>
          chosenOf(nodesOf(group, ends), { count, exploration, isOpen }),
        );
        const further = await sample(chosen.map(({ rollout, tokens }) => ({ rollout: all[rollout]!, tokens })));
        const scored = await score(further.flat());
        all.push(...scored.map((rollout, i) => ({ ...rollout, parent: chosen[i]!.rollout })));
      }
      return all;
    },
  };
}

/** Every state that rollouts of a group have gone through, and what came of them. */
function nodesOf(group: readonly (ScoredRollout & { readonly i: number })[], ends: ReadonlySet<number>): Node[] {
  const nodes = new Map<string, Node>();
  for (const { i, completionTokens, reward } of group) {
    const cuts = completionTokens.slice(0, -1).flatMap((token, t) => (ends.has(token) ? [t + 1] : []));
    for (const tokens of [0, ...cuts]) {
      const key = completionTokens.slice(0, tokens).join(' ');
      const node = nodes.get(key) ?? { rollout: i, tokens, rewards: [] };
      nodes.set(key, node);
      if (reward !== null) node.rewards.push(reward);
    }
  }
  return [...nodes.values()].filter(({ rewards }) => rewards.length > 0);
}

/** The states of the largest UCT values; each counts as visited once more when it is taken. */
function chosenOf(
  nodes: readonly Node[],
  { count, exploration, isOpen }: { count: number; exploration: number; isOpen: (value: number) => boolean },
): Node[] {
  const total = Math.max(...nodes.map(({ rewards }) => rewards.length), 1);
  const taken = nodes.map(() => 0);
  const worthOf = ({ rewards }: Node) => rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
  const open = nodes.map((node, i) => ({ node, i })).filter(({ node }) => isOpen(worthOf(node)));
  if (open.length === 0) return [];
  return Array.from({ length: count }, () => {
    const uct = ({ node, i }: (typeof open)[number]) =>
      worthOf(node) + exploration * Math.sqrt(Math.log(total + 1) / (node.rewards.length + taken[i]!));
    const best = open.reduce((a, b) => (uct(b) > uct(a) ? b : a));
    taken[best.i]!++;
    return best.node;
  });
}

function refuseEpisode(rollout: ScoredRollout, index: number): void {
  if (!rollout.messages && trainedTokens(rollout).every(Boolean)) return;
  const problem = `rollout ${index} has tokens that an environment wrote, which does not go on from a prefix`;
  throw new PosttrainError('TREE', `treeRollouts: ${problem}; use rollouts of a single turn`);
}
