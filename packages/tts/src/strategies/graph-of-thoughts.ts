import { assertArgument, custom, type Given, integer, type Prompt } from '@posttrain/interfaces';
import { Search } from '../search.js';
import { ancestry, type SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf, byScore } from '../step-score.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';
const graphOfThoughtsOptions = strategyOptions('graph-of-thoughts', {
  verifier: verifierOption,
  /** The prompt that puts thoughts together; they come best first. */
  aggregatePrompt: custom<(thoughts: readonly string[]) => Prompt>()(
    'a function that makes a prompt of thoughts',
    isFunction,
    {},
  ),
  /** The prompt that improves a thought. Needed with `refinements`. */
  refinePrompt: custom<(thought: string) => Prompt>()('a function that makes a prompt of a thought', isFunction, {
    optional: true,
  }),
  /** How many of the first thoughts are kept and put together. Default 2. */
  keep: integer({ default: 2, min: 1 }),
  /** How many are put together at a time, and what comes of them again, until one thought is left. Default: all that are kept. */
  fanIn: integer({ optional: true, min: 2 }),
  /** How many thoughts are made of each such group, of which the best goes on. Default 1. */
  aggregates: integer({ default: 1, min: 1 }),
  /** How many times the best thought is refined. Default 0. */
  refinements: integer({ default: 0, min: 0 }),
  /** Thoughts of each refinement. Default 1. */
  refinementWidth: integer({ default: 1, min: 1 }),
});
/** Options of `graphOfThoughts`. `n` is the number of thoughts that are generated at first. */
export type GraphOfThoughtsOptions = Given<typeof graphOfThoughtsOptions>;

/**
 * An aggregation of thoughts, one graph of operations of Graph of Thoughts (arXiv 2308.09687 §3.2 to 3.4):
 *
 *   generate(n) → score → keepBest(keep) → aggregate(aggregates) → score → keepBest(1) → [refine → score → keepBest(1)]*
 *
 * With the thoughts T_0 generated, K ⊆ T_0 the `keep` highest scored and A drawn from the aggregation of K, the best is
 * b_0 = argmax over K ∪ A of the score, and with R_t drawn from the refinement of b_t
 *
 *   b_{t+1} = argmax over {b_t} ∪ R_t of the score
 *
 * so that neither an aggregation nor a refinement can make it worse. With `fanIn` k the aggregation is a tree: groups of k thoughts are put
 * together, then the results, as a merge sort does; A is all that was made. Of N thoughts the last has the latency 1 + log_k N and the volume
 * Σ_{i < log_k N} N / k^i, where a chain of as many thoughts has a latency of all of them. Ties go to the earlier thought; what is not scorable or
 * was not verified is not kept. The payload of the returned thought has its *volume* (thoughts from which a path leads to
 * it) and *latency* (hops on the longest of them), as §6 counts them. Throws `NoCandidateError` when no thought has a score.
 */
export async function graphOfThoughts(problem: Problem, options: GraphOfThoughtsOptions): Promise<SearchResult> {
  const settings = graphOfThoughtsOptions.read(options);
  const { n, aggregatePrompt, refinePrompt, keep, fanIn = keep, aggregates, refinements, refinementWidth } = settings;
  const search = new Search(graphOfThoughtsOptions, problem, options);
  const { where, shape } = graphOfThoughtsOptions;
  const canRefine = refinements === 0 || refinePrompt !== undefined;
  assertArgument(where, 'refinePrompt', refinePrompt, canRefine, shape.refinePrompt.expects);
  const scoreOf = ({ score }: SearchNode) => score ?? null;
  const draw = async (from: SearchNode, count: number, prompt?: Prompt): Promise<SearchNode[]> => {
    const thoughts = await search.expand(from, { n: count, ...(prompt === undefined ? {} : { prompt }) });
    await search.verify(thoughts);
    return thoughts;
  };

  const ranked = byScore(await draw(search.root, n), scoreOf);
  const kept = ranked.slice(0, keep);
  for (const { node } of ranked.slice(keep)) node.reason = `not among the ${keep} best`;
  if (kept.length === 0) throw search.nothing('no thought has a score.');
  const thoughtsSoFar = [...kept];
  for (let level: readonly SearchNode[] = kept, isFirst = true; isFirst || level.length > 1; isFirst = false) {
    const groups = Array.from({ length: Math.ceil(level.length / fanIn) }, (_, i) =>
      level.slice(i * fanIn, (i + 1) * fanIn),
    );
    const drawn = await Promise.all(
      groups.map((group) => {
        if (group.length === 1 && groups.length > 1) return group;
        const prompt = aggregatePrompt(group.map(({ text }) => text));
        return draw(search.merge(group, { operation: 'aggregate' }), aggregates, prompt);
      }),
    );
    thoughtsSoFar.push(...drawn.flat().filter((thought) => !thoughtsSoFar.includes(thought)));
    level = drawn.flatMap((thoughts) => bestOf(thoughts, scoreOf) ?? []);
  }
  let best = bestOf(thoughtsSoFar, scoreOf)!;
  for (let t = 0; t < refinements && refinePrompt; t++) {
    const refined = await draw(best, refinementWidth, refinePrompt(best.text));
    if (refined.length === 0) break;
    best = bestOf([best, ...refined], scoreOf)!;
  }
  const thoughts = [...ancestry(best)].filter((it) => it !== best && it.node.finishReason !== null);
  best.payload = { volume: thoughts.length, latency: latency(best) };
  return search.finish(best, { reason: 'lower score' });
}

/** Thoughts on the longest path to this one, itself among them; the root and merged nodes are none. */
const latency = ({ parents, node }: SearchNode): number =>
  Math.max(0, ...parents.map(latency)) + (node.finishReason === null ? 0 : 1);
