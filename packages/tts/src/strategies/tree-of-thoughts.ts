import {
  custom,
  type Given,
  integer,
  listOf,
  number,
  oneOf,
  type Prompt,
  showValue,
  text,
} from '@posttrain/interfaces';
import { ContractError, InvalidArgumentError } from '../errors.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf, byScore } from '../step-score.js';

/** Each state is valued by itself. */
export interface ThoughtValues {
  readonly method: 'value';
  /** What is asked of a state, the thoughts so far. */
  readonly prompt: (thoughts: string) => Prompt;
  /** The value in what the evaluator wrote; `null` or NaN: none. */
  readonly parse: (text: string) => number | null;
}

/** The states of a step are compared. */
export interface ThoughtVotes {
  readonly method: 'vote';
  readonly prompt: (states: readonly string[]) => Prompt;
  /** Which state the evaluator voted for, from 0; `null`: none. */
  readonly parse: (text: string, states: number) => number | null;
}

const treeOfThoughtsOptions = strategyOptions('tree-of-thoughts', {
  /** T, the steps of a solution: thoughts in a row. A state that the model has ended has no further steps. */
  steps: integer({ min: 1 }),
  /** V, how states are judged. `generators.evaluator` is asked where there is one, else `generator`. */
  evaluation: custom<ThoughtValues | ThoughtVotes>()(
    "{ method: 'value' or 'vote', prompt, parse } with functions",
    isEvaluation,
    {},
  ),
  /** How often the evaluator is asked about a state (`value`) or a step's states (`vote`). Default 3. */
  evaluations: integer({ default: 3, min: 1 }),
  /** Breadth-first, b states a step; or depth-first, which backtracks from values that are not above `threshold`. Default `bfs`. */
  search: oneOf(['bfs', 'dfs'], { default: 'bfs' }),
  /** b, the states that are kept of each step (`bfs`). Default 5. */
  breadth: integer({ default: 5, min: 1 }),
  /** v_th: only states of a value above it are gone into (`dfs`). Default: all, the best first. */
  threshold: number({ optional: true }),
  /** How many solutions end the search (`dfs`). Default 1. */
  outputs: integer({ default: 1, min: 1 }),
  /** What ends a thought that is sampled. Default `['\n']`. */
  stop: listOf(text({}), { default: ['\n'] }),
  /** Proposes the next thoughts together, one a line of one completion. Default: they are sampled, each a continuation of the state. */
  proposePrompt: custom<(thoughts: string) => Prompt>()(
    'a function that makes a prompt of thoughts',
    (value) => typeof value === 'function',
    { optional: true },
  ),
});
/** Options of `treeOfThoughts`. `n` is k, the thoughts that are generated from each state. */
export type TreeOfThoughtsOptions = Given<typeof treeOfThoughtsOptions>;

/**
 * Tree of Thoughts (arXiv 2305.10601 §3): states s = [x, z_1 … z_i] of i thoughts, G proposes or samples k next ones, and V judges by the
 * model itself: the mean of the numbers in `evaluations` valuations of a state, or the votes for it among the states of its step.
 *
 *   BFS (algorithm 1): S'_t = {[s, z] : s ∈ S_{t−1}, z ∈ G(s, k)}, and S_t = the b of S'_t that V puts first, t = 1 … T
 *   DFS (algorithm 2): goes into every s' ∈ G(s, k) with V(s') > v_th, the best first, and records a solution at depth T
 *
 * A state that another has the text of is not judged again and dropped. One that the model has ended is a solution already: it is compared with those of
 * later steps. Returned is the first of S_T, or of DFS the solution with the highest value. Ties go to the earlier state; what has no value
 * is not kept. Evaluations are completions of the budget, and nodes of the trace. Throws `NoCandidateError` without a solution.
 */
export async function treeOfThoughts(problem: Problem, options: TreeOfThoughtsOptions): Promise<SearchResult> {
  const { where: name } = treeOfThoughtsOptions;
  const settings = treeOfThoughtsOptions.read(options);
  const { n, steps, evaluation, evaluations, breadth, outputs, stop, proposePrompt, search: order } = settings;
  const { threshold = Number.NEGATIVE_INFINITY } = settings;
  const search = new Search(treeOfThoughtsOptions, problem, options);
  if (order === 'dfs' && evaluation.method === 'vote') {
    throw new InvalidArgumentError(`${name}: search 'dfs' needs values; votes compare the states of a step only.`);
  }
  const evaluator = { n: evaluations, ...(options.generators?.evaluator && { role: 'evaluator' }) };
  const scoreOf = ({ score }: SearchNode) => score ?? null;
  const isSolution = (state: SearchNode, thoughts: number) => thoughts === steps || state.state !== 'open';

  /** G: the next states, without those of a text that was there. */
  const generate = async (states: readonly SearchNode[]): Promise<SearchNode[]> => {
    const drawn = await Promise.all(
      states.map(async (state) => {
        if (!proposePrompt) return search.expand(state, { n, stop });
        const [proposal] = await search.expand(state, { n: 1, prompt: proposePrompt(state.text) });
        if (!proposal) return [];
        const lines = proposal.text.split('\n').filter((line) => line.trim() !== '');
        return lines.slice(0, n).map((line) => search.merge([proposal], { thought: line }, `${state.text}${line}\n`));
      }),
    );
    const texts = new Set<string>();
    return drawn.flat().filter(({ text, node }) => {
      const isNew = !texts.has(text);
      if (!isNew) node.reason = 'a state of this text was there';
      texts.add(text);
      return isNew;
    });
  };
  /** V: `score` of each, where the budget allows it. */
  const evaluate = async (states: readonly SearchNode[]): Promise<void> => {
    if (states.length === 0) return;
    const said = (nodes: readonly SearchNode[]): string[] =>
      nodes.map(({ node, text }) => {
        node.reason = 'an evaluation';
        return text;
      });
    if (evaluation.method === 'vote') {
      const prompt = evaluation.prompt(states.map(({ text }) => text));
      const votes = said(await search.expand(search.merge(states, { operation: 'vote' }), { ...evaluator, prompt }));
      const chosen = votes.map((text) => numberOf(name, evaluation.parse(text, states.length)));
      if (votes.length === 0) return;
      states.forEach(({ node }, i) => {
        node.score = chosen.filter((vote) => vote === i).length;
      });
      return;
    }
    await Promise.all(
      states.map(async (state) => {
        const prompt = evaluation.prompt(state.text);
        const texts = said(await search.expand(state, { ...evaluator, prompt }));
        const values = texts.map((text) => numberOf(name, evaluation.parse(text))).filter((value) => value !== null);
        if (texts.length === 0) state.node.reason = `not valued: ${search.exhausted}`;
        else state.node.score = values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
      }),
    );
  };

  const solutions: SearchNode[] = [];
  const goInto = async (state: SearchNode, thoughts: number): Promise<void> => {
    if (thoughts > 0 && isSolution(state, thoughts)) {
      solutions.push(state);
      return;
    }
    const states = await generate([state]);
    await evaluate(states);
    for (const next of byScore(states, scoreOf)) {
      if (solutions.length >= outputs) return;
      if (next.score! > threshold) await goInto(next, thoughts + 1);
      else next.node.reason = `value not above ${threshold}`;
    }
  };
  if (order === 'dfs') await goInto(search.root, 0);
  else {
    let kept: readonly SearchNode[] = [search.root];
    for (let step = 1; step <= steps; step++) {
      const ended = step === 1 ? [] : kept.filter(({ state }) => state !== 'open');
      const fresh = await generate(kept.filter(({ state }) => state === 'open'));
      const states = [...ended, ...fresh];
      await evaluate(evaluation.method === 'vote' ? states : fresh);
      const ranked = byScore(states, scoreOf);
      kept = ranked.slice(0, breadth);
      for (const { node } of ranked.slice(breadth)) node.reason = `not among the ${breadth} best of step ${step}`;
    }
    solutions.push(...kept.filter((state) => state !== search.root));
  }
  const best = bestOf(solutions, scoreOf);
  if (!best) throw search.nothing(`no state has ${steps} steps and a value.`);
  return search.finish(best, { reason: 'lower score' });
}

/** What `parse` found, of which `Number` gives NaN for a text that is none; throws for what is neither a number nor `null`. */
function numberOf(where: string, value: unknown): number | null {
  if (value === null || Number.isNaN(value)) return null;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new ContractError(
    `${where}: evaluation.parse gave ${showValue(value)}; give a finite number, or null for none.`,
  );
}

function isEvaluation(value: unknown): boolean {
  const given = value as Partial<ThoughtValues> | null | undefined;
  const isKnown = given?.method === 'value' || (given?.method as string | undefined) === 'vote';
  return isKnown && typeof given?.prompt === 'function' && typeof given.parse === 'function';
}
