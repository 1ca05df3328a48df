import { assertArgument } from '@posttrain/interfaces';
import type { Search } from './search.js';
import type { SearchNode } from './search-node.js';
import type { SearchOptions } from './search-options.js';
import type { Draw } from './search-types.js';

/** A completion that is generated a piece at a time, so that it can be looked at, and given up, before its end. */
export interface Growing {
  /** The whole text so far. */
  readonly node: SearchNode;
  readonly pieces: readonly SearchNode[];
  readonly tokens: number;
  /** The model has ended it, or it has all its tokens. */
  readonly isWhole: boolean;
}

/**
 * The next piece of each, all in one batch, of at most `size` tokens and never past the `sampling.maxTokens` of the whole.
 * What the budget or the wall time did not allow is left out, with a reason. A piece continues the text of those before it,
 * so that a generator reads its tokens anew.
 */
export async function growPieces(
  search: Search,
  growing: readonly (Growing | SearchNode)[],
  { size, maxTokens, ...report }: { readonly size: number; readonly maxTokens: number } & Omit<Draw, 'n'>,
): Promise<Growing[]> {
  const from = growing.map((it) => ('pieces' in it ? it : { node: it, pieces: [], tokens: 0, isWhole: false }));
  const grown = await Promise.all(
    from.map(async (it): Promise<Growing[]> => {
      if (it.isWhole) return [it];
      const [node] = await search.expand(it.node, {
        n: 1,
        maxTokens: Math.min(size, maxTokens - it.tokens),
        ...report,
      });
      if (!node) {
        it.node.node.reason ??= `not continued: ${search.exhausted}`;
        return [];
      }
      const tokens = it.tokens + node.node.completionTokens;
      const isWhole = node.state === 'ended' || tokens >= maxTokens || node.node.completionTokens === 0;
      return [{ node, pieces: [...it.pieces, node], tokens, isWhole }];
    }),
  );
  return grown.flat();
}

/** The most tokens of a whole completion, which growing in pieces needs to know. */
export function wholeTokens(where: string, { sampling }: Pick<SearchOptions, 'sampling'>): number {
  const maxTokens = sampling?.maxTokens;
  assertArgument(
    where,
    'sampling.maxTokens',
    maxTokens,
    maxTokens !== undefined,
    'the most tokens of a whole completion',
  );
  return maxTokens!;
}
