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
  const { accept, residual } = uniforms;
  return verifyCandidates(target, [{ token, draft }], { accept: [accept], residual });
}

/** A token that may come next, and what it was drawn from. */
export interface Candidate {
  readonly token: number;
  readonly draft: TokenDistribution;
}

/**
 * Speculative sampling of one position with several candidates (multi-step speculative sampling, SpecInfer, arXiv 2305.09781
 * algorithm 2): x_1, …, x_k are tried in order. With p_0 = p, x_i is kept with probability min(1, p_(i−1)(x_i) / q_i(x_i)), and
 * p_i = norm(max(0, p_(i−1) − q_i)) where it is not; when none is, a token is drawn from p_k. What comes out is distributed as
 * p, whatever the q_i are, as long as x_i was drawn from q_i given x_1, …, x_(i−1): all from one q, or without replacement.
 *
 * @param target p
 * @param uniforms numbers of [0, 1), independent of each other and of the draws of the candidates: one each, and one more
 */
export function verifyCandidates(
  target: TokenDistribution,
  candidates: readonly Candidate[],
  uniforms: { readonly accept: ArrayLike<number>; readonly residual: number },
): { readonly token: number; readonly accepted: boolean } {
  let left = target;
  for (const [i, { token, draft }] of candidates.entries()) {
    if (uniforms.accept[i]! * probabilityOf(draft, token) < probabilityOf(left, token))
      return { token, accepted: true };
    const residual = residualDistribution(left, draft);
    // Where p and q differ by rounding only, nothing may be left to draw from.
    if (!residual) return { token, accepted: true };
    left = residual;
  }
  return { token: tokenAt(left, uniforms.residual), accepted: false };
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
