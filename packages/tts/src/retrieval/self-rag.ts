import { assertArgument, type Given, integer, number } from '@posttrain/interfaces';
import { functionOption } from '../function-option.js';
import { roleScores } from '../role-scores.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf, byScore } from '../step-score.js';
import { stopOption } from '../steps.js';
import { retrieverOption } from './rag.js';

const ROLES = ['relevance', 'support', 'utility'] as const;

const selfRagOptions = strategyOptions('self-rag', {
  /** Where passages are found: `bm25(passages)`, or `denseRetriever(passages, embedder)`. */
  retriever: retrieverOption,
  /** What is looked for, of the text so far. */
  queryOf: functionOption<(text: string) => string>('a function that makes a query of the text so far'),
  /** Passages for each segment. Default 5. */
  k: integer({ default: 5, min: 1 }),
  /** δ: retrieve where `verifiers.retrieve` scores the text so far above it. Default 0.2. Without that verifier it always is. */
  threshold: number({ default: 0.2 }),
  /** What ends a segment. Default `['\n\n']`. */
  stop: stopOption,
  /** Segments that are kept at each step. Default 2. */
  beams: integer({ default: 2, min: 1 }),
  /** Segments at most. Default 7. */
  maxSegments: integer({ default: 7, min: 1 }),
  /** Weight of ISREL. Default 1, as the paper's. */
  relevanceWeight: number({ default: 1 }),
  /** Weight of ISSUP. Default 1, as the paper's. */
  supportWeight: number({ default: 1 }),
  /** Weight of ISUSE. Default 0.5, as the paper's. */
  utilityWeight: number({ default: 0.5 }),
});
/** Options of `selfRag`. `n` is the number of segments that are drawn for each passage; `verifiers` has relevance, support and utility. */
export type SelfRagOptions = Given<typeof selfRagOptions>;

const share = (of: number, all: readonly number[]): number => {
  const sum = all.reduce((a, b) => a + b, 0);
  return sum === 0 ? 0 : of / sum;
};
/** s(ISREL) of the probabilities of its reflection tokens: that the passage is relevant, of both. */
export const relevanceScore = (p: { readonly relevant: number; readonly irrelevant: number }): number =>
  share(p.relevant, [p.relevant, p.irrelevant]);
/** s(ISSUP): fully supported, and partially for half, of all three. */
export const supportScore = (p: { readonly fully: number; readonly partially: number; readonly no: number }): number =>
  share(p.fully + 0.5 * p.partially, [p.fully, p.partially, p.no]);
/** s(ISUSE): Σ w_i p_i over usefulness 1 to 5 with w = −1, −½, 0, ½, 1, of all. */
export const utilityScore = (p: readonly [number, number, number, number, number]): number =>
  share(
    p.reduce((sum, each, i) => sum + (i / 2 - 1) * each, 0),
    p,
  );

/**
 * Self-RAG inference (arXiv 2310.11511 §3.3): segments of an answer, each with passages that are looked for when they are needed, chosen by
 * what the model's reflection tokens say of them.
 *
 * 1. Retrieve: where `verifiers.retrieve` of the text so far is above δ, k passages are found, and each is put into the text between
 *    `<paragraph>` and `</paragraph>`, as the paper's models read it; else the text goes on without;
 * 2. n next segments are drawn for each passage, and scored: f = w_REL s(ISREL) + w_SUP s(ISSUP) + w_USE s(ISUSE), by `verifiers.relevance`, `support`
 *    and `utility` (`relevanceScore` and its like make those of probabilities of reflection tokens); a segment without a passage by utility alone;
 * 3. the `beams` paths of highest Σ f go on, until they have ended.
 *
 * An irrelevant passage so costs its segment the place, where plain RAG reads it with the rest. Returned is the ended path of
 * highest Σ f over segments, as a mean, without its passages being an answer. Throws `NoCandidateError` when none has ended with a score.
 */
export async function selfRag(problem: Problem, options: SelfRagOptions): Promise<SearchResult> {
  const read = selfRagOptions.read(options);
  const { n, retriever, queryOf, k, threshold, stop, beams, maxSegments } = read;
  const search = new Search(selfRagOptions, problem, options);
  const missing = ROLES.find((role) => options.verifiers?.[role] === undefined);
  const expects = `verifiers with ${ROLES.join(', ')}${missing === undefined ? '' : `; ${missing} is missing`}`;
  assertArgument(selfRagOptions.where, 'verifiers', options.verifiers, missing === undefined, expects);
  const weights = { relevance: read.relevanceWeight, support: read.supportWeight, utility: read.utilityWeight };
  /** f of each path's segments. */
  const paths = new Map<SearchNode, readonly number[]>([[search.root, []]]);
  const scoreOf = (node: SearchNode): number | null => {
    const found = paths.get(node);
    return found === undefined || found.length === 0 ? null : found.reduce((a, b) => a + b, 0) / found.length;
  };

  const finished: SearchNode[] = [];
  let kept: readonly SearchNode[] = [search.root];
  for (let segment = 1; segment <= maxSegments && kept.length > 0 && search.exhausted === null; segment++) {
    const needs = options.verifiers?.retrieve
      ? await roleScores(search, kept, 'retrieve')
      : kept.map(() => Number.POSITIVE_INFINITY);
    const found = await Promise.all(
      kept.map(({ text }, i) => ((needs[i] ?? 0) > threshold ? retriever.retrieve(queryOf(text), k) : [])),
    );
    const starts = kept.flatMap((node, i) => {
      const read = found[i]!.map(({ id, text }) => ({
        from: node,
        node: search.merge([node], { passage: id }, `${node.text}<paragraph>${text}</paragraph>`),
        hasPassage: true,
      }));
      return read.length > 0 ? read : [{ from: node, node, hasPassage: false }];
    });
    const ends = segment === maxSegments ? [] : stop;
    const drawn = await Promise.all(starts.map(({ node }) => search.expand(node, { n, stop: ends })));
    const segments = drawn.flat();
    const scores: Record<string, (number | null | undefined)[]> = {};
    for (const role of ROLES) scores[role] = await roleScores(search, segments, role);
    drawn.forEach((list, i) => {
      const { from, hasPassage } = starts[i]!;
      for (const node of list) {
        const at = segments.indexOf(node);
        const roles = hasPassage ? ROLES : (['utility'] as const);
        const said = roles.map((role) => [role, scores[role]![at]] as const);
        if (said.some(([, score]) => score === undefined || score === null)) continue;
        const f = said.reduce((sum, [role, score]) => sum + weights[role] * score!, 0);
        paths.set(node, [...paths.get(from)!, f]);
        node.payload = Object.fromEntries(said);
        node.node.score = scoreOf(node);
      }
    });
    const ranked = byScore(segments, scoreOf);
    finished.push(...ranked.filter(({ state }) => state === 'ended'));
    kept = ranked.filter(({ state }) => state === 'open').slice(0, beams);
    for (const node of ranked)
      if (node.state === 'open' && !kept.includes(node))
        node.node.reason = `not among the ${beams} best of segment ${segment}`;
  }
  const best = bestOf(finished, scoreOf);
  if (!best) throw search.nothing('no path has ended with a score.');
  return search.finish(best, { reason: 'lower score' });
}
