import { type Given, integer } from '@posttrain/interfaces';
import { type Growing, growPieces, wholeTokens } from '../pieces.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';

const blockwiseOptions = strategyOptions('blockwise-controlled-decoding', {
  /** Gives the value of a text so far: what reward is to be expected of it. */
  verifier: verifierOption,
  /** M, tokens of a block. Default 32, as in the paper. */
  blockTokens: integer({ default: 32, min: 1 }),
});
/** Options of `blockwiseControlledDecoding`. `n` is K, the blocks that are drawn in each place. */
export type BlockwiseControlledDecodingOptions = Given<typeof blockwiseOptions>;

/**
 * Blockwise controlled decoding (CD, arXiv 2310.17022 §3.4): K blocks of M tokens are drawn from the generator, the one behind which the text is
 * worth most is kept, and the next K go on from it,
 *
 *   z* = argmax_{z_1 … z_K ~ π(· | x, y)} V(x, y, z)
 *
 * until the model ends the text, or at `sampling.maxTokens`, which it needs. With one block of all tokens it is best-of-N, with M = 1 it
 * chooses each of them among K; tokenwise, with the whole vocabulary in sight, is the mix `valueGuided` of `@posttrain/lm`. Of equals the
 * first; where none has a value, the first goes on. Throws `NoCandidateError` when the budget ends the text before its end.
 */
export async function blockwiseControlledDecoding(
  problem: Problem,
  options: BlockwiseControlledDecodingOptions,
): Promise<SearchResult> {
  const { n, blockTokens } = blockwiseOptions.read(options);
  const search = new Search(blockwiseOptions, problem, options);
  const maxTokens = wholeTokens(blockwiseOptions.where, options);
  let kept: Growing | SearchNode = search.root;
  for (let block = 1; ; block++) {
    const from: Growing | SearchNode = kept;
    const drawn = await growPieces(
      search,
      Array.from({ length: n }, () => from),
      { size: blockTokens, maxTokens },
    );
    if (drawn.length === 0) throw search.nothing(`the text has no block ${block}.`);
    await search.verify(drawn.map(({ node }) => node));
    const best = bestOf(
      drawn.map(({ node }) => node),
      ({ score }) => score ?? null,
    );
    const next = drawn.find(({ node }) => node === best) ?? drawn[0]!;
    for (const { node } of drawn) if (node !== next.node) node.node.reason ??= `not the best block ${block}`;
    if (next.isWhole) return search.finish(next.node, { reason: 'not the best of its block' });
    kept = next;
  }
}
