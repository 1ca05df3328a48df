import { type Given, integer, number, type Prompt } from '@posttrain/interfaces';
import { promptOption } from '../function-option.js';
import { roleScores } from '../role-scores.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { stopOption } from '../steps.js';
import { TreeStatistics, uct } from '../tree-statistics.js';

const latsOptions = strategyOptions('lats', {
  /** The reward of a whole text, from the environment: `success` ends the search. */
  verifier: verifierOption,
  /** What is asked for why a text has failed: the reflection. */
  reflectPrompt: promptOption<(failed: string) => Prompt>('a text that has failed'),
  /** The problem's prompt with the reflections so far, the memory. */
  memoryPrompt: promptOption<(reflections: readonly string[]) => Prompt>('reflections'),
  /** Reflections that are made at most. Default 3. */
  maxReflections: integer({ default: 3, min: 0 }),
  /** Children of a node that is expanded. Default 5. */
  width: integer({ default: 5, min: 1 }),
  /** λ, the share of `verifiers.value` in a state's value; the rest is self-consistency. Default 0.5; 0 without such a verifier. */
  valueWeight: number({ optional: true, min: 0, max: 1 }),
  /** w of UCT. Default 1. */
  exploration: number({ default: 1, min: 0 }),
  /** The reward that ends the search. Default 1. */
  success: number({ default: 1 }),
  /** What ends a step. Default `['\n\n']`. */
  stop: stopOption,
  /** Steps at most. Default 7. */
  maxDepth: integer({ default: 7, min: 1 }),
});
/** Options of `lats`. `n` is the number of iterations. */
export type LatsOptions = Given<typeof latsOptions>;

/**
 * Language agent tree search (LATS, arXiv 2310.04406): MCTS whose new states are valued by the model, and which learns from failures in words.
 *
 * 1. select from the root by UCT, V(s) + w √(ln N(p) / N(s)); states that have failed are not gone into again;
 * 2. expand by `width` steps;
 * 3. evaluate: V(s) = λ LM(s) + (1 − λ) SC(s), LM by `verifiers.value`, SC the share of siblings with the same text;
 * 4. simulate: on from the child of highest value, expanding and evaluating at every step, until a text ends: r is its reward;
 * 5. back up: V(s) ← (V(s) (N(s) − 1) + r) / N(s) on the path;
 * 6. reflect: of a text that has failed (and whose like has not), the model says why; all later steps are drawn from
 *    `memoryPrompt` of these reflections.
 *
 * The memory is what plain MCTS has not: a failure on one branch changes what is drawn on all others. A text with r ≥ `success`
 * ends the search; else the one of highest reward is returned, the first of several. What is not scorable has reward 0. Throws
 * `NoCandidateError` when no text has ended with a reward.
 */
export async function lats(problem: Problem, options: LatsOptions): Promise<SearchResult> {
  const read = latsOptions.read(options);
  const { n, reflectPrompt, memoryPrompt, maxReflections, width, exploration, success, stop, maxDepth } = read;
  const search = new Search(latsOptions, problem, options);
  const hasValue = options.verifiers?.value !== undefined;
  const lambda = read.valueWeight ?? (hasValue ? 0.5 : 0);
  const tree = new TreeStatistics();
  const values = new Map<SearchNode, number>();
  const failed = new Set<SearchNode>();
  const failures = new Set<string>();
  const finished: SearchNode[] = [];
  const reflections: string[] = [];

  /** The children of a node with their values; none where the budget ended it. */
  const grow = async (node: SearchNode): Promise<readonly SearchNode[]> => {
    const remembered = reflections.length === 0 ? {} : { prompt: memoryPrompt(reflections), prefix: node.text };
    const drawn = await search.expand(node, { n: width, stop, ...remembered });
    const shares = new Map<string, number>();
    for (const { text } of drawn) shares.set(text, (shares.get(text) ?? 0) + 1 / drawn.length);
    const children = drawn.filter(({ text }, i) => drawn.findIndex((it) => it.text === text) === i);
    for (const { node: twin } of drawn.filter((it) => !children.includes(it)))
      twin.reason = 'a state of this text was there';
    const said = lambda > 0 ? await roleScores(search, children, 'value') : [];
    children.forEach((child, i) => {
      values.set(child, lambda * (said[i] ?? 0) + (1 - lambda) * shares.get(child.text)!);
    });
    tree.of(node).children.push(...children);
    return children;
  };
  /** r of a text that has ended or may not go on; `undefined` where the budget does not allow to ask. */
  const rewardOf = async (node: SearchNode): Promise<number | undefined> => {
    if (node.score === undefined) await search.verify([node]);
    if (node.score === undefined) return undefined;
    if (!finished.includes(node) && node.score !== null) finished.push(node);
    return node.score ?? 0;
  };
  const isOver = (node: SearchNode) => node.state !== 'open' || node.depth >= maxDepth;
  /** A state that was never visited has the value that it was given, in the place of UCT's infinity. */
  const worth = (child: SearchNode, parent: SearchNode): number => {
    if (isDead(child)) return Number.NEGATIVE_INFINITY;
    const { visits } = tree.of(child);
    return visits === 0 ? (values.get(child) ?? 0) : uct(tree.q(child), visits, tree.of(parent).visits, exploration);
  };
  const isDead = (node: SearchNode): boolean => {
    const { children } = tree.of(node);
    return failed.has(node) || (children.length > 0 && children.every(isDead));
  };
  const reflect = async (node: SearchNode): Promise<void> => {
    if (reflections.length >= maxReflections || failures.has(node.text)) return;
    failures.add(node.text);
    const [reflection] = await search.expand(node, { n: 1, prompt: reflectPrompt(node.text) });
    if (!reflection) return;
    reflection.node.reason = 'a reflection';
    reflections.push(reflection.text);
  };

  for (let i = 0; i < n && search.exhausted === null && !isDead(search.root); i++) {
    const path = tree.select(search.root, worth);
    for (let at = path.at(-1)!; !isOver(at); at = path.at(-1)!) {
      const best = bestOf(await grow(at), (child) => values.get(child)!);
      if (!best) break;
      path.push(best);
    }
    const leaf = path.at(-1)!;
    const reward = isOver(leaf) ? await rewardOf(leaf) : undefined;
    if (reward === undefined) break;
    tree.backUp(path, reward);
    if (reward >= success) break;
    failed.add(leaf);
    await reflect(leaf);
  }
  tree.write();
  const best = bestOf(finished, ({ score }) => score ?? null);
  if (!best) throw search.nothing('no text has ended with a reward.');
  return search.finish(best, { reason: 'lower reward' });
}
