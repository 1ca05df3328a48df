import { assertArgument, type Given, integer, number } from '@posttrain/interfaces';
import { optionalFunction } from '../function-option.js';
import { roleScores } from '../role-scores.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { stopOption } from '../steps.js';
import { mostOf, puct, TreeStatistics } from '../tree-statistics.js';

const alphaLlmOptions = strategyOptions('alpha-llm', {
  /** v, the value critic: what the text so far will be worth. `verifiers.process` and `verifiers.outcome` are the other critics. */
  verifier: verifierOption,
  /** β_value. Default 1. */
  valueWeight: number({ default: 1, min: 0 }),
  /** β_PRM, of `verifiers.process`. Default 1 where there is one. */
  processWeight: number({ optional: true, min: 0 }),
  /** β_ORM, of `verifiers.outcome` over rollouts. Default 1 where there is one. */
  outcomeWeight: number({ optional: true, min: 0 }),
  /** Rollouts of a leaf for the outcome critic, by `generators.fast` where there is one. Default 1. */
  rollouts: integer({ default: 1, min: 1 }),
  /** c_min, children of a node at least. Default 2. */
  minChildren: integer({ default: 2, min: 1 }),
  /** c_max, children at most. Default 8. */
  maxChildren: integer({ default: 8, min: 1 }),
  /** α, how many more children a unit of importance gives. Default 10. */
  importance: number({ default: 10, min: 0 }),
  /** c_puct. Default 1. */
  exploration: number({ default: 1, min: 0 }),
  /** State merge: whether two options are the same. Default: their texts are, but for spaces. */
  isSame: optionalFunction<(a: string, b: string) => boolean>(
    'a function that says whether two texts are the same option',
  ),
  /** What ends an option. Default `['\n\n']`. */
  stop: stopOption,
  /** Options in a row at most. Default 40. */
  maxDepth: integer({ default: 40, min: 1 }),
});
/** Options of `alphaLlm`. `n` is the number of simulations. */
export type AlphaLlmOptions = Given<typeof alphaLlmOptions>;

/** n(s) = max(c_min, min(⌊α I(s)⌋ + 1, c_max)): the children of a node of importance I. */
export const importanceWidth = (
  importance: number,
  { scale, least, most }: { readonly scale: number; readonly least: number; readonly most: number },
): number => Math.max(least, Math.min(Math.floor(scale * importance) + 1, most));

const sameButForSpaces = (a: string, b: string) => a.trim().replace(/\s+/g, ' ') === b.trim().replace(/\s+/g, ' ');

/**
 * η-MCTS of AlphaLLM (arXiv 2404.12253 §4.3): MCTS over options (a step each) with as many children as a state is important, equal options
 * merged, and three critics.
 *
 * 1. select by Q(s, o) + c_puct π(o | s) √(Σ N) / (1 + N(s, o)), π by `verifiers.prior` over siblings (all equal without it);
 * 2. expand: `minChildren` options first; with I(s) = max_o |v(s, o) − v(s)| up to n(s) = max(c_min, min(⌊α I(s)⌋ + 1, c_max)) of them. An
 *    option that is the same as another of the state is merged into it, and counts as drawn;
 * 3. evaluate a leaf: β_value v(s) + β_PRM r_PRM(s) + β_ORM E[r_ORM], over `rollouts` completions (of the text itself where it has ended),
 *    divided by the sum of the weights so that it stays in the critics' range;
 * 4. back up the mean.
 *
 * Where the value critic expects the options of a state to differ, it is explored widely; where it expects them to be alike,
 * narrowly: plain MCTS has one width. Returned is the ended text that the outcome critic (else the value critic) scores highest, of the tree and of
 * rollouts. What is not scorable counts as 0. Throws `NoCandidateError` when no text has ended with a score.
 */
export async function alphaLlm(problem: Problem, options: AlphaLlmOptions): Promise<SearchResult> {
  const read = alphaLlmOptions.read(options);
  const { n, valueWeight, rollouts, minChildren, maxChildren, importance, exploration, stop, maxDepth } = read;
  const { isSame = sameButForSpaces } = read;
  const search = new Search(alphaLlmOptions, problem, options);
  const has = (role: string) => options.verifiers?.[role] !== undefined;
  const processWeight = read.processWeight ?? (has('process') ? 1 : 0);
  const outcomeWeight = read.outcomeWeight ?? (has('outcome') ? 1 : 0);
  const weights = valueWeight + processWeight + outcomeWeight;
  const { where } = alphaLlmOptions;
  assertArgument(where, 'valueWeight', valueWeight, weights > 0, 'more than 0 where no other critic counts');
  assertArgument(
    where,
    'maxChildren',
    maxChildren,
    maxChildren >= minChildren,
    `at least minChildren (${minChildren})`,
  );
  const tree = new TreeStatistics();
  const outcomes = new Map<SearchNode, number>();
  const value = ({ score }: SearchNode) => score ?? 0;

  const draw = async (node: SearchNode, count: number): Promise<void> => {
    const drawn = count > 0 ? await search.expand(node, { n: count, stop }) : [];
    const { children } = tree.of(node);
    const fresh: SearchNode[] = [];
    for (const child of drawn) {
      if ([...children, ...fresh].some((it) => isSame(it.text, child.text)))
        child.node.reason = 'merged: the same option was there';
      else fresh.push(child);
    }
    await search.verify(fresh);
    children.push(...fresh.filter(({ score }) => score !== undefined));
  };
  const expand = async (node: SearchNode): Promise<void> => {
    await draw(node, minChildren);
    const { children } = tree.of(node);
    if (children.length === 0) return;
    const differs = Math.max(...children.map((child) => Math.abs(value(child) - value(node))));
    const width = importanceWidth(differs, { scale: importance, least: minChildren, most: maxChildren });
    await draw(node, width - minChildren);
    const priors = has('prior') ? await roleScores(search, children, 'prior') : children.map(() => 1);
    const sum = priors.reduce<number>((total, prior) => total + (prior ?? 0), 0);
    children.forEach((child, i) => {
      tree.of(child).prior = sum > 0 ? (priors[i] ?? 0) / sum : 1 / children.length;
    });
    node.payload = { importance: differs, width };
  };
  /** E[r_ORM] of what comes of a leaf; `undefined` where the budget ended it. */
  const outcomeOf = async (leaf: SearchNode): Promise<number | undefined> => {
    const role = options.generators?.fast ? { role: 'fast' } : {};
    const texts = leaf.state === 'open' ? await search.expand(leaf, { n: rollouts, ...role }) : [leaf];
    const asked = texts.filter((text) => !outcomes.has(text));
    const scores = has('outcome') ? await roleScores(search, asked, 'outcome') : [];
    asked.forEach((text, i) => {
      const score = scores[i];
      if (score === undefined) return;
      outcomes.set(text, score ?? 0);
      if (text !== leaf && score !== null) text.node.score = score;
    });
    const known = texts.flatMap((text) => outcomes.get(text) ?? []);
    return known.length === 0 ? undefined : known.reduce((a, b) => a + b, 0) / known.length;
  };
  const evaluate = async (leaf: SearchNode): Promise<number | undefined> => {
    const [process] = processWeight > 0 ? await roleScores(search, [leaf], 'process') : [0];
    const outcome = outcomeWeight > 0 ? await outcomeOf(leaf) : 0;
    if (process === undefined || outcome === undefined) return undefined;
    return (valueWeight * value(leaf) + processWeight * (process ?? 0) + outcomeWeight * outcome) / weights;
  };
  const worth = (child: SearchNode, parent: SearchNode): number => {
    const { visits, prior } = tree.of(child);
    const constant = { base: Number.POSITIVE_INFINITY, init: exploration };
    return puct(tree.q(child), prior, visits, tree.of(parent).visits, constant);
  };

  // Importance is told from the value of the state itself.
  await search.verify([search.root]);
  const finished = new Set<SearchNode>();
  for (let i = 0; i < n && search.exhausted === null; i++) {
    const path = tree.select(search.root, worth);
    const at = path.at(-1)!;
    if (at.state === 'open' && at.depth < maxDepth) {
      await expand(at);
      const best = mostOf(tree.of(at).children, (child) => tree.of(child).prior * (1 + value(child)));
      if (!best) break;
      path.push(best);
      for (const child of tree.of(at).children) if (child.state === 'ended') finished.add(child);
    }
    const worthOfLeaf = await evaluate(path.at(-1)!);
    if (worthOfLeaf === undefined) break;
    tree.backUp(path, worthOfLeaf);
  }
  tree.write();
  for (const [node, outcome] of outcomes) {
    if (has('outcome')) node.node.score = outcome;
    if (node.state === 'ended') finished.add(node);
  }
  const candidates = [...finished];
  const scoreOf = (node: SearchNode) => (has('outcome') ? (outcomes.get(node) ?? null) : (node.score ?? null));
  const best = bestOf(candidates, scoreOf) ?? bestOf(candidates, ({ score }) => score ?? null);
  if (!best) throw search.nothing('no text has ended with a score.');
  return search.finish(best, { reason: 'lower score' });
}
