import { tokenAt } from '../generate/token-probabilities.js';

/**
 * Speculative sampling of one position (arXiv 2211.17192 algorithm 1, arXiv 2302.01318 algorithm 2): a token x that
 * was drawn from q is kept with probability min(1, p(x) / q(x)); otherwise another is drawn from
 * norm(max(0, p − q)). What comes out is distributed as p, whatever q is; x is kept with probability
 * 1 − TV(p, q) = Σ min(p, q).
 *
 * @param target p [vocabulary]
 * @param draft q [vocabulary], what `token` was drawn from
 * @param uniforms two independent numbers of [0, 1), also independent of the draw of `token`
 */
export function verifyToken(
  target: Float64Array,
  draft: Float64Array,
  token: number,
  uniforms: { readonly accept: number; readonly residual: number },
): { readonly token: number; readonly accepted: boolean } {
  if (uniforms.accept * draft[token]! < target[token]!) return { token, accepted: true };
  const residual = residualDistribution(target, draft);
  // Where p and q differ by rounding only, nothing may be left to draw from.
  if (!residual) return { token, accepted: true };
  return { token: tokenAt(residual, uniforms.residual), accepted: false };
}

/** norm(max(0, p − q)): what is drawn from when a proposal is refused; undefined where p is nowhere above q. */
export function residualDistribution(target: Float64Array, draft: Float64Array): Float64Array | undefined {
  const excess = target.map((p, token) => Math.max(0, p - draft[token]!));
  const total = excess.reduce((a, b) => a + b, 0);
  return total === 0 ? undefined : excess.map((p) => p / total);
}
