import {
  assertArgument,
  custom,
  type Given,
  integer,
  listOf,
  number,
  oneOf,
  type Prompt,
  text,
} from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { optionalFunction, optionalPrompt } from '../function-option.js';
import { CONSISTENCIES, consistencyScores, consistentTrajectories, type Trajectory } from '../mutual-consistency.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { mostOf, TreeStatistics, uct } from '../tree-statistics.js';

/** A1 to A5 of the paper. */
export const R_STAR_ACTIONS = ['one-step', 'remaining', 'sub-question', 'answer-again', 'rephrase'] as const;
/** One of the five actions. */
export type RStarAction = (typeof R_STAR_ACTIONS)[number];

/** What a trajectory has come to: the question, which A5 rewrites, and the steps. */
export interface RStarState {
  readonly question: string;
  readonly steps: readonly { readonly action: RStarAction; readonly text: string }[];
}

/** What each action asks; one that is left out is not taken. `remaining` is what solutions end with. */
export type RStarPrompts = Readonly<Partial<Record<RStarAction, (state: RStarState) => Prompt>>> & {
  readonly remaining: (state: RStarState) => Prompt;
};

/** Which actions may follow which, as the authors' code has it; none follows `remaining`. */
const NEXT: Readonly<Record<RStarAction | 'question', readonly RStarAction[]>> = {
  question: ['one-step', 'remaining', 'sub-question', 'rephrase'],
  rephrase: ['one-step', 'remaining', 'sub-question'],
  'sub-question': ['one-step', 'remaining', 'sub-question', 'answer-again'],
  'answer-again': ['one-step', 'remaining', 'sub-question'],
  'one-step': ['one-step', 'remaining'],
  remaining: [],
};

const isPrompts = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  'remaining' in value &&
  Object.entries(value).every(
    ([action, it]) => R_STAR_ACTIONS.includes(action as RStarAction) && typeof it === 'function',
  );

const rStarOptions = strategyOptions('r-star', {
  /** What each action asks. */
  prompts: custom<RStarPrompts>()(
    `prompts by action (${R_STAR_ACTIONS.join(', ')}), remaining among them`,
    isPrompts,
    {},
  ),
  /** Children of `one-step`, `sub-question`, `answer-again` and `rephrase` each. Default 3. */
  width: integer({ default: 3, min: 1 }),
  /** Solutions drawn by `remaining`, of which those with one answer are one child. Default 10. */
  votes: integer({ default: 10, min: 1 }),
  /** Whether a step is the last one, as a sub-question that is the question itself. Default: only `remaining` ends. */
  isFinal: optionalFunction<(text: string) => boolean>('a function that says whether a step is the last one'),
  /** What ends a step of `one-step`. Default `['\n']`. */
  stop: listOf(text({}), { default: ['\n'] }),
  /** Actions in a row at most. Default 5. */
  maxDepth: integer({ default: 5, min: 1 }),
  /** w of UCT. Default 2. */
  exploration: number({ default: 2, min: 0 }),
  /** How w falls to a tenth over the rollouts. Default `const`: it does not. */
  schedule: oneOf(['const', 'lin', 'exp'], { default: 'const' }),
  /** Beginnings of each solution that the discriminator completes. Default 4. */
  masks: integer({ default: 4, min: 1 }),
  /** How many of them must come to the solution's answer: one, half, or all. Default `mid`. */
  consistency: oneOf(CONSISTENCIES, { default: 'mid' }),
  /** The discriminator's prompt, of the question. Default: the problem's. */
  discriminatorPrompt: optionalPrompt<(question: string) => Prompt>('the question'),
});
/** Options of `rStar`. `n` is the number of rollouts; `generators.discriminator` is the second model. */
export type RStarOptions = Given<typeof rStarOptions>;

/**
 * rStar (arXiv 2408.06195): MCTS over five human-like actions by one model, and a second model that must agree.
 *
 * - Actions: A1 one step of thought, A2 the remaining steps, A3 the next sub-question with its answer, A4 that sub-question answered again,
 *   A5 the question rephrased (only of the question itself). A2 ends a solution; its value is the share of the `votes` draws that have its answer.
 * - Rollouts: a child that was never visited is taken first, at random; where all were, the one of highest Q/N + w √(ln N(s) / N(s, a)).
 *   From there children are taken at random until a solution ends, whose value is added to Q of the whole path; 0 at `maxDepth`.
 * - Discriminator (mutual consistency): each solution begun, 20 to 80 % of it, must be completed to the same answer by `generators.discriminator`;
 *   the answer has the mean reward of the consistent solutions with it, plus the share of its solutions that are consistent.
 *
 * So an answer that the first model votes for, and that another does not come to from the same steps, loses. Ties go to the solution met
 * first. Throws `NoCandidateError` when no solution has an answer.
 */
export async function rStar(problem: Problem, options: RStarOptions): Promise<SearchResult> {
  const read = rStarOptions.read(options);
  const { n, prompts, width, votes, isFinal = () => false, stop, maxDepth, exploration, schedule } = read;
  const { masks, consistency, discriminatorPrompt } = read;
  const search = new Search(rStarOptions, problem, options);
  const { discriminator } = options.generators ?? {};
  const expects = 'generators with a discriminator, the second model: { discriminator }';
  assertArgument(rStarOptions.where, 'generators', options.generators, discriminator !== undefined, expects);
  const random = createRandom(options.sampling?.seed ?? 0, rStarOptions.where);
  const tree = new TreeStatistics();
  const { prompt } = problem;
  const question = typeof prompt === 'string' ? prompt : (prompt.at(-1)?.content ?? '');
  const states = new Map<SearchNode, RStarState>([[search.root, { question: question + search.root.text, steps: [] }]]);
  /** Rewards of solutions. */
  const solved = new Map<SearchNode, number>();
  const expanded = new Set<SearchNode>();

  const lastAction = (node: SearchNode) =>
    node === search.root ? 'question' : (node.payload as { action: RStarAction }).action;
  const isOver = (node: SearchNode) =>
    solved.has(node) || lastAction(node) === 'remaining' || depthOf(node) >= maxDepth;
  const depthOf = (node: SearchNode): number => (node === search.root ? 0 : 1 + depthOf(node.parents[0]!));
  const act = async (node: SearchNode, action: RStarAction): Promise<SearchNode[]> => {
    const state = states.get(node)!;
    const ask = prompts[action];
    if (!ask) return [];
    const isAnswer = action === 'remaining';
    const drawn = await search.expand(node, {
      ...{ n: isAnswer ? votes : width, prompt: ask(state) },
      ...(action === 'one-step' && { stop }),
    });
    const share = (answer: string | null) => drawn.filter((it) => it.answer === answer).length / drawn.length;
    return drawn.filter((child, i) => {
      child.payload = { action };
      const isNew = !isAnswer || drawn.findIndex(({ answer }) => answer === child.answer) === i;
      if (!isNew) child.node.reason = 'a vote for the same answer';
      const steps = action === 'answer-again' ? state.steps.slice(0, -1) : state.steps;
      if (action === 'rephrase') states.set(child, { question: child.text, steps });
      else states.set(child, { question: state.question, steps: [...steps, { action, text: child.text }] });
      if (isNew && child.answer !== null && (isAnswer || isFinal(child.text))) solved.set(child, share(child.answer));
      return isNew;
    });
  };
  const expand = async (node: SearchNode): Promise<void> => {
    if (expanded.has(node) || isOver(node)) return;
    expanded.add(node);
    const children = await Promise.all(NEXT[lastAction(node)].map((action) => act(node, action)));
    tree.of(node).children.push(...children.flat());
  };
  const select = (weight: number): SearchNode[] => {
    const path = [search.root];
    for (;;) {
      const parent = path.at(-1)!;
      const { children, visits } = tree.of(parent);
      if (children.length === 0) return path;
      const fresh = children.filter((child) => tree.of(child).visits === 0);
      if (fresh.length > 0) return [...path, random.pick(fresh)];
      path.push(mostOf(children, (child) => uct(tree.q(child), tree.of(child).visits, visits, weight))!);
    }
  };

  for (let i = 0; i < n && search.exhausted === null; i++) {
    const weight = { const: 1, lin: 1 - (0.9 * i) / n, exp: 0.1 ** (i / n) }[schedule] * exploration;
    const path = select(weight);
    for (;;) {
      const at = path.at(-1)!;
      await expand(at);
      const { children } = tree.of(at);
      if (isOver(at) || children.length === 0) break;
      path.push(random.pick(children));
    }
    tree.backUp(path, solved.get(path.at(-1)!) ?? 0);
  }
  tree.write();

  const trajectories = [...solved].map(([node, reward]): Trajectory => {
    const whole = states.get(node)!.steps.map(({ text }) => text.trimEnd());
    return { node, text: whole.join('\n'), answer: node.answer!, reward };
  });
  if (trajectories.length === 0) throw search.nothing('no solution has an answer.');
  const ask = discriminatorPrompt?.(question);
  const consistent = await consistentTrajectories(search, trajectories, { prompt: ask, masks, consistency, random });
  const scores = consistencyScores(trajectories, consistent);
  const among = consistent.length > 0 ? consistent : trajectories;
  const winner = mostOf([...scores], ([, score]) => score)![0];
  for (const { node } of trajectories) if (!among.some((it) => it.node === node)) node.node.reason = 'not consistent';
  const supporters = among.filter(({ answer }) => answer === winner);
  const best = mostOf(supporters, ({ reward }) => reward)!;
  const chosen = search.merge([best.node], { operation: 'solution' }, best.text);
  const count = (answer: string) => among.filter((it) => it.answer === answer).length;
  const ballots = [...scores].map(([answer, weight]) => ({ answer, count: count(answer), weight }));
  const support = supporters.map(({ node }) => node);
  return search.finish(chosen, { support, votes: ballots.sort((a, b) => b.weight - a.weight), reason: 'outscored' });
}
