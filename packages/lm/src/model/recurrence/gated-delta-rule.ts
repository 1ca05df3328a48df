import { concat, iota, type Tensor, where, zeros } from '@posttrain/core-tensor';
import { beginsOf, chunkDecays, chunkLayout } from './chunk-decays.js';
import { countedOf, type RecurrentPast } from './layer-state.js';

/** The inputs of a gated delta rule with h heads of values, in g groups of which each has one query and key. */
export interface GatedDeltaRule {
  /** [b, s, g, k] each. */
  readonly queries: Tensor;
  readonly keys: Tensor;
  /** [b, s, h, v]. */
  readonly values: Tensor;
  /** [b, s, h]: the logarithm of how much of the state stays, at most 0. */
  readonly logDecay: Tensor;
  /** [b, s, h], from 0 to 1: how much of what the state has for a key is replaced. */
  readonly strength: Tensor;
}

/**
 * The gated delta rule (arXiv 2412.06464): of each head, with S₀ the state before the pass,
 *
 *     S_t = a_t (I − β_t k_t k_tᵀ) S_{t−1} + β_t k_t v_tᵀ,   y_t = S_tᵀ q_t,   a_t = exp(logDecay_t)
 *
 * in chunks, whose updates are one triangular system (section 3.3), or by the recurrence for a single token. Gives y [b, s, h, v] and the last state
 * [b, h, k, v]. `past.state.delta` and `past.initial.delta` are such states.
 */
export function gatedDeltaRule(
  rule: GatedDeltaRule,
  past: RecurrentPast,
  chunk = 64,
): { readonly y: Tensor; readonly delta: Tensor } {
  const [b, s, h, v] = rule.values.shape as [number, number, number, number];
  const [g, k] = rule.keys.shape.slice(2) as [number, number];
  const r = h / g;
  const state = past.state?.delta?.reshape([b, g, r, k, v]);
  if (s === 1 && state) return step(rule, state);
  const isToken = past.counts && countedOf(past.counts, s).expandDims(2);
  const ofTokens = (x: Tensor) => (isToken ? where(isToken, x, 0) : x);
  const q = Math.min(s, chunk);
  const chunks = Math.ceil(s / q);
  const { ofHeads, ofGroups } = chunkLayout(q, g);
  const [queries, keys, values] = [ofGroups(rule.queries), ofGroups(rule.keys), ofHeads(rule.values)];
  const strength = ofHeads(ofTokens(rule.strength));
  const logs = ofHeads(ofTokens(rule.logDecay)).reshape([b, h, chunks, q]);
  const decays = chunkDecays(logs, beginsOf(past.since, q));
  const by = (decay: Tensor) => decay.reshape([b, g, r, ...decay.shape.slice(2)]);
  const ofRows = (decay: Tensor) => by(decay).expandDims(5);

  const between = by(decays.between);
  const alike = keys.matmul(keys, { transposeB: true }).mul(between).mul(strength);
  const solve = unitLowerInverse(alike);
  const pushed = keys.mul(strength);
  const wanted = solve.matmul(values.mul(strength));
  const replaced = solve.matmul(pushed.mul(ofRows(decays.carried)));
  const seen = queries.matmul(keys, { transposeB: true }).mul(between);
  const read = queries.mul(ofRows(decays.carried));
  const left = keys.mul(ofRows(decays.toEnd));

  const initial = past.initial?.delta?.reshape([1, g, r, 1, k, v]);
  const begun = initial && decays.begun;
  // What does not depend on the chunks before.
  const own = begun ? wanted.sub(solve.matmul(pushed.mul(ofRows(begun.seen))).matmul(initial)) : wanted;
  const ownRead = begun && queries.mul(ofRows(begun.seen)).matmul(initial);
  const ownEnd = begun && by(begun.end).reshape([b, g, r, chunks, 1, 1]).mul(initial);

  let last = (state ?? zeros([b, g, r, k, v], values.dtype)).reshape([b, g, r, 1, k, v]);
  const outputs: Tensor[] = [];
  for (let at = 0; at < chunks; at++) {
    const of = (x: Tensor) => x.slice(3, at, at + 1);
    const written = of(own).sub(of(replaced).matmul(last));
    const y = of(read).matmul(last).add(of(seen).matmul(written));
    outputs.push(ownRead ? y.add(of(ownRead)) : y);
    const kept = last.mul(of(by(decays.through)).reshape([b, g, r, 1, 1, 1]));
    const next = kept.add(of(left).matmul(written, { transposeA: true }));
    last = ownEnd ? next.add(of(ownEnd)) : next;
  }
  return {
    y: concat(outputs, 3)
      .transpose([0, 3, 4, 1, 2, 5])
      .reshape([b, chunks * q, h, v])
      .slice(1, 0, s),
    delta: last.reshape([b, h, k, v]),
  };
}

/** One token of each row. */
function step(
  { queries, keys, values, logDecay, strength }: GatedDeltaRule,
  state: Tensor,
): { readonly y: Tensor; readonly delta: Tensor } {
  const [b, g, r, k, v] = state.shape as [number, number, number, number, number];
  const ofHeads = (x: Tensor) => x.reshape([b, g, r, 1, -1]);
  const key = keys.reshape([b, g, 1, 1, k]);
  const kept = state.mul(ofHeads(logDecay.exp()));
  const written = ofHeads(values).sub(key.matmul(kept)).mul(ofHeads(strength));
  const next = kept.add(key.reshape([b, g, 1, k, 1]).mul(written));
  const y = queries.reshape([b, g, 1, 1, k]).matmul(next);
  return { y: y.reshape([b, 1, g * r, v]), delta: next.reshape([b, g * r, k, v]) };
}

/**
 * (I + A)⁻¹ of the parts [..., q, q] of A below its diagonal, by blocks: of [[P, 0], [R, T]] it is [[P⁻¹, 0], [−T⁻¹ R P⁻¹, T⁻¹]]. Like forward
 * substitution, and unlike a series in powers of A, it is exact for keys that are all alike.
 */
export function unitLowerInverse(a: Tensor): Tensor {
  const q = a.shape.at(-1)!;
  const lead = a.shape.slice(0, -2).map(() => 1);
  const [i, j] = [iota([...lead, q, 1], a.rank - 2), iota([...lead, 1, q], a.rank - 1)];
  let inverse = i.equal(j).cast(a.dtype);
  for (let size = 1; size < q; size *= 2) {
    // Blocks of `size`, of which two and two are a larger one: the lower left of each.
    const startOf = (x: Tensor) => x.sub(x.mod(2 * size));
    const isLower = startOf(i)
      .equal(startOf(j))
      .and(i.mod(2 * size).greaterEqual(size))
      .and(j.mod(2 * size).less(size));
    const below = where(isLower, a, 0);
    inverse = inverse.sub(size === 1 ? below : inverse.matmul(below).matmul(inverse));
  }
  return inverse;
}
