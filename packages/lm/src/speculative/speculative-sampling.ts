import { probabilityOf, type TokenDistribution, tokenAt } from './token-distribution.js';

/**
 * Speculative sampling of one position (arXiv 2211.17192 algorithm 1, arXiv 2302.01318 algorithm 2): a token x that
 * was drawn from q is kept with probability min(1, p(x) / q(x)); otherwise another is drawn from
 * norm(max(0, p − q)). What comes out is distributed as p, whatever q is; x is kept with probability
 * 1 − TV(p, q) = Σ min(p, q).
 *
 * @param target p
 * @param draft q, what `token` was drawn from
 * @param uniforms two independent numbers of [0, 1), also independent of the draw of `token`
 */
export function verifyToken(
  target: TokenDistribution,
  draft: TokenDistribution,
  token: number,
  uniforms: { readonly accept: number; readonly residual: number },
): { readonly token: number; readonly accepted: boolean } {
  if (uniforms.accept * probabilityOf(draft, token) < probabilityOf(target, token)) return { token, accepted: true };
  const residual = residualDistribution(target, draft);
  // Where p and q differ by rounding only, nothing may be left to draw from.
  if (!residual) return { token, accepted: true };
  return { token: tokenAt(residual, uniforms.residual), accepted: false };
}

/** norm(max(0, p − q)): what is drawn from when a proposal is refused; undefined where p is nowhere above q. */
export function residualDistribution(
  target: TokenDistribution,
  draft: TokenDistribution,
): TokenDistribution | undefined {
  const { tokens } = target;
  let total = 0;
  let other = 0;
  const excess = target.probabilities.map((p, i) => {
    while (other < draft.tokens.length && draft.tokens[other]! < tokens[i]!) other++;
    const q = draft.tokens[other] === tokens[i] ? draft.probabilities[other]! : 0;
    total += Math.max(0, p - q);
    return Math.max(0, p - q);
  });
  return total === 0 ? undefined : { tokens, probabilities: excess.map((p) => p / total) };
}
