import { type Given, integer, number } from '@posttrain/interfaces';
import { quantile } from '../numbers.js';
import { type Growing, growPieces, wholeTokens } from '../pieces.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';

const speculativeRejectionOptions = strategyOptions('speculative-rejection', {
  verifier: verifierOption,
  /** α, the share of unfinished texts that every look rejects; 0 is best-of-N. Default 0.5. */
  alpha: number({ default: 0.5, min: 0, below: 1 }),
  /** Tokens between two looks. Default 128. */
  piece: integer({ default: 128, min: 1 }),
});
/** Options of `speculativeRejection`. `n` is the number of texts that are begun; `sampling.maxTokens` is needed. */
export type SpeculativeRejectionOptions = Given<typeof speculativeRejectionOptions>;

/**
 * Speculative rejection (arXiv 2410.20290): best-of-N that gives up early on what scores low. N texts grow by `piece` tokens; the verifier
 * scores them as they are, and of those that go on only
 *
 *   { i : r_i ≥ the α-quantile of r }
 *
 * do. Ended texts keep their score; the highest is returned, the first of several. The authors look when memory is full, here it
 * is after every piece. What is not scorable (`null`) or was not verified is rejected. Throws `NoCandidateError` when nothing has ended with a score.
 */
export async function speculativeRejection(
  problem: Problem,
  options: SpeculativeRejectionOptions,
): Promise<SearchResult> {
  const settings = speculativeRejectionOptions.read(options);
  const { n, alpha, piece } = settings;
  const search = new Search(speculativeRejectionOptions, problem, options);
  const maxTokens = wholeTokens(speculativeRejectionOptions.where, settings);
  const ended: SearchNode[] = [];
  let growing: (Growing | SearchNode)[] = new Array<SearchNode>(n).fill(search.root);
  while (growing.length > 0) {
    const grown = await growPieces(search, growing, { size: piece, maxTokens });
    await search.verify(grown.map(({ node }) => node));
    const scored = grown.filter(({ node }) => typeof node.score === 'number');
    ended.push(...scored.filter(({ isWhole }) => isWhole).map(({ node }) => node));
    const open = scored.filter(({ isWhole }) => !isWhole);
    const cut =
      open.length === 0
        ? 0
        : quantile(
            open.map(({ node }) => node.score!),
            alpha,
          );
    growing = open.filter(({ node, tokens }) => {
      const isKept = node.score! >= cut;
      if (!isKept) node.node.reason = `rejected after ${tokens} tokens`;
      return isKept;
    });
  }
  const best = bestOf(ended, ({ score }) => score ?? null);
  if (!best) throw search.nothing('no text has ended with a score.');
  return search.finish(best, { reason: 'lower score' });
}
