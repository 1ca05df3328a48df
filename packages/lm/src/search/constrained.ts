import { maskWithEnds, type TokenConstraint } from '../constraint/token-constraint.js';
import type { SearchPrompt } from './search-prompt.js';

/**
 * What a constraint makes of a search: tokens that it does not allow are excluded, and a hypothesis that it lets nothing
 * more follow is finished. `begin` makes one for the start of a hypothesis; it is told every hypothesis from there.
 */
export function constrained(
  begin: () => TokenConstraint,
  endTokens: ReadonlySet<number>,
): Required<Pick<SearchPrompt, 'process' | 'isFinished'>> {
  const after = (generated: readonly number[]): TokenConstraint => {
    const constraint = begin();
    for (const token of generated) constraint.accept(token);
    return constraint;
  };
  return {
    process(scores, generated) {
      const mask = maskWithEnds(after(generated), endTokens, scores.length);
      for (let token = 0; token < scores.length; token++) {
        if (((mask[token >> 5]! >>> (token & 31)) & 1) === 0) scores[token] = Number.NEGATIVE_INFINITY;
      }
    },
    isFinished(generated) {
      const constraint = after(generated);
      return constraint.isComplete && constraint.allowed().every((word) => word === 0);
    },
  };
}
