import { type Given, integer, number, type Prompt } from '@posttrain/interfaces';
import { promptOption } from '../function-option.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { mostOf } from '../tree-statistics.js';

const selfRefineOptions = strategyOptions('mct-self-refine', {
  /** The self-reward: from −100 to 100 in the paper. It is asked again whenever an answer is selected. */
  verifier: verifierOption,
  /** What is asked of an answer, to be told its faults. */
  feedbackPrompt: promptOption<(answer: string) => Prompt>('an answer'),
  /** What is asked for a better answer, with the faults of the last one. */
  refinePrompt: promptOption<(answer: string, feedback: string) => Prompt>('an answer and its feedback'),
  /** Refinements of an answer after which it may be fully expanded. Default 3. */
  maxChildren: integer({ default: 3, min: 1 }),
  /** c of UCT. Default 1.4. */
  exploration: number({ default: 1.4, min: 0 }),
  /** Rewards of at least this are not believed … Default 95. */
  fullScore: number({ default: 95 }),
  /** … and are this instead. Default 50. */
  suppressedScore: number({ default: 50 }),
});
/** Options of `mctSelfRefine`. `n` is the number of refinements. */
export type MctSelfRefineOptions = Given<typeof selfRefineOptions>;

interface Answer {
  readonly node: SearchNode;
  readonly father: Answer | undefined;
  readonly children: Answer[];
  readonly rewards: number[];
  /** Q after the children's were backed up. */
  q: number;
}

const EPSILON = 1e-5;

/** Q(a) = ½ (min R_a + mean R_a), of all rewards that an answer was given: what it is worth at least, and on average. */
export const selfRewardQ = (rewards: readonly number[]): number =>
  (Math.min(...rewards) + rewards.reduce((a, b) => a + b, 0) / rewards.length) / 2;

/**
 * Monte Carlo tree self-refine (MCTSr, arXiv 2406.07394): a tree whose nodes are whole answers and whose edges refine them.
 *
 * 1. select, of the answers that are not fully expanded, the one with the highest Q(a) + c √(ln(N(father) + 1) / (N(a) + ε)), N the number of
 *    rewards that an answer was given; fully expanded is one with `maxChildren` children of which one has a higher Q;
 * 2. reward it once more, ask for its faults, and refine it by them;
 * 3. reward the new answer: Q(a) = ½ (min R_a + mean R_a), rewards of at least `fullScore` suppressed;
 * 4. back up: Q'(a) = ½ (Q(a) + max over children of Q'), from the new answer to the first.
 *
 * So an answer whose refinements are good is refined again, where Self-Refine only ever goes on from the last one. Returned is the
 * answer with the highest Q; what is not scorable is given no reward and not kept. Throws `NoCandidateError` when no answer has one.
 */
export async function mctSelfRefine(problem: Problem, options: MctSelfRefineOptions): Promise<SearchResult> {
  const read = selfRefineOptions.read(options);
  const { n, feedbackPrompt, refinePrompt, maxChildren, exploration, fullScore, suppressedScore } = read;
  const search = new Search(selfRefineOptions, problem, options);
  const answers: Answer[] = [];
  /** Whether the answer was given a reward. */
  const reward = async (answer: Answer): Promise<boolean> => {
    delete answer.node.node.score;
    await search.verify([answer.node]);
    const { score } = answer.node;
    if (typeof score === 'number') answer.rewards.push(score >= fullScore ? suppressedScore : score);
    if (answer.rewards.length > 0) {
      const own = selfRewardQ(answer.rewards);
      answer.q = answer.children.length > 0 ? (own + Math.max(...answer.children.map(({ q }) => q))) / 2 : own;
    }
    return typeof score === 'number';
  };
  const add = async (node: SearchNode, father?: Answer): Promise<void> => {
    const answer: Answer = { node, father, children: [], rewards: [], q: Number.NEGATIVE_INFINITY };
    if (!(await reward(answer))) return;
    answers.push(answer);
    father?.children.push(answer);
    for (let above = father; above; above = above.father) {
      above.q = (selfRewardQ(above.rewards) + Math.max(...above.children.map(({ q }) => q))) / 2;
    }
  };
  const isFullyExpanded = ({ children, rewards }: Answer) =>
    children.length >= maxChildren && children.some((child) => selfRewardQ(child.rewards) >= selfRewardQ(rewards));
  const worth = ({ q, father, rewards }: Answer) =>
    q + exploration * Math.sqrt(Math.log((father?.rewards.length ?? 0) + 1) / (rewards.length + EPSILON));

  const [first] = await search.expand(search.root, { n: 1 });
  if (first) await add(first);
  for (let i = 0; i < n && search.exhausted === null; i++) {
    const weak = mostOf(
      answers.filter((answer) => !isFullyExpanded(answer)),
      worth,
    );
    if (!weak) break;
    await reward(weak);
    const [feedback] = await search.expand(weak.node, { n: 1, prompt: feedbackPrompt(weak.node.text) });
    if (!feedback) break;
    feedback.node.reason = 'feedback';
    const prompt = refinePrompt(weak.node.text, feedback.text);
    const [better] = await search.expand(feedback, { n: 1, prompt });
    if (better) await add(better, weak);
  }
  for (const { node, q, rewards } of answers) node.payload = { q, visits: rewards.length };
  const best = mostOf(answers, ({ q }) => q);
  if (!best) throw search.nothing('no answer was given a reward.');
  return search.finish(best.node, { reason: 'lower Q' });
}
