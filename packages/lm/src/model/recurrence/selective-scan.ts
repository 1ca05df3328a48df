import { concat, iota, type Tensor, where, zeros } from '@posttrain/core-tensor';
import { beginsOf, type ChunkDecays, chunkDecays, chunkLayout, NEVER } from './chunk-decays.js';
import { countedOf, type RecurrentPast } from './layer-state.js';

/** The inputs of a selective state space of h heads of p components, in g groups, with n components of state each. */
export interface SelectiveScan {
  /** [b, s, h, p]. */
  readonly x: Tensor;
  /** [b, s, h], positive: how long a step takes. */
  readonly dt: Tensor;
  /** [h], negative. */
  readonly a: Tensor;
  /** [b, s, g, n] each: what of a token goes into the state, and what is read from it. */
  readonly input: Tensor;
  readonly read: Tensor;
}

/**
 * The selective state space of Mamba 2 (arXiv 2405.21060): of each head, with S₀ the state before the pass,
 *
 *     S_t = exp(dt_t · a) · S_{t−1} + dt_t · x_t B_tᵀ,   y_t = S_t C_t
 *
 * as matrix products within chunks and between them (section 6), or by the recurrence for a single token. Gives y [b, s, h, p] and the last state
 * [b, h, p, n], in the precision of the inputs. `past.state.ssm` and `past.initial.ssm` are such states.
 */
export function selectiveScan(
  scan: SelectiveScan,
  past: RecurrentPast,
  chunk = 64,
): { readonly y: Tensor; readonly ssm: Tensor } {
  const [b, s, h, p] = scan.x.shape as [number, number, number, number];
  const [g, n] = scan.read.shape.slice(2) as [number, number];
  const r = h / g;
  const state = past.state?.ssm?.reshape([b, g, r, p, n]);
  if (s === 1 && state) return step(scan, state);
  // Padding takes no time.
  const dt = past.counts ? where(countedOf(past.counts, s).expandDims(2), scan.dt, 0) : scan.dt;
  const q = Math.min(s, chunk);
  const chunks = Math.ceil(s / q);
  const { ofHeads, ofGroups } = chunkLayout(q, g);
  const times = ofHeads(dt);
  const x = ofHeads(scan.x).mul(times);
  const [inward, read] = [ofGroups(scan.input), ofGroups(scan.read)];
  const logs = times.mul(scan.a.reshape([1, g, r, 1, 1, 1])).reshape([b, h, chunks, q]);
  const decays = chunkDecays(logs, beginsOf(past.since, q));
  const by = (decay: Tensor) => decay.reshape([b, g, r, ...decay.shape.slice(2)]);

  const seen = read.matmul(inward, { transposeB: true }).mul(by(decays.between));
  const within = seen.matmul(x);
  const left = x.mul(by(decays.toEnd).expandDims(5)).matmul(inward, { transposeA: true });
  const initial = past.initial?.ssm?.reshape([1, g, r, 1, p, n]);
  const begun = initial && decays.begun;
  const added = begun ? left.add(by(begun.end).reshape([b, g, r, chunks, 1, 1]).mul(initial)) : left;

  const first = (state ?? zeros([b, g, r, p, n], x.dtype)).reshape([b, g, r, 1, p, n]);
  const states = betweenChunks(concat([first, added], 3), decays);
  const before = states.slice(3, 0, chunks);
  const carried = read.matmul(before, { transposeB: true }).mul(by(decays.carried).expandDims(5));
  const y = within.add(carried);
  const all = begun ? y.add(read.matmul(initial, { transposeB: true }).mul(by(begun.seen).expandDims(5))) : y;
  return {
    y: all
      .transpose([0, 3, 4, 1, 2, 5])
      .reshape([b, chunks * q, h, p])
      .slice(1, 0, s),
    ssm: states.slice(3, chunks).reshape([b, h, p, n]),
  };
}

/** One token of each row. */
function step({ x, dt, a, input, read }: SelectiveScan, state: Tensor): { readonly y: Tensor; readonly ssm: Tensor } {
  const [b, g, r, p, n] = state.shape as [number, number, number, number, number];
  const times = dt.reshape([b, g, r, 1, 1]);
  const decay = times.mul(a.reshape([1, g, r, 1, 1])).exp();
  const added = x
    .reshape([b, g, r, p, 1])
    .mul(times)
    .mul(input.reshape([b, g, 1, 1, n]));
  const next = state.mul(decay).add(added);
  const y = next.reshape([b, g, r * p, n]).matmul(read.reshape([b, g, n, 1]));
  return { y: y.reshape([b, 1, g * r, p]), ssm: next.reshape([b, g * r, p, n]) };
}

/**
 * The states at the beginning of each chunk and after the last, [b, g, r, chunks + 1, p, n], of what is added at each of these places: one product
 * with the matrix of the decays between them.
 */
function betweenChunks(added: Tensor, { through, logThrough, begins }: ChunkDecays): Tensor {
  const [b, g, r, places, p, n] = added.shape as [number, number, number, number, number, number];
  const chunks = places - 1;
  if (chunks === 1) {
    const [first, last] = [added.slice(3, 0, 1), added.slice(3, 1)];
    return concat([first, first.mul(through.reshape([b, g, r, 1, 1, 1])).add(last)], 3);
  }
  const sums = logThrough.reshape([b, g, r, chunks]).cumsum(3).pad(3, 1, 0);
  const [i, j] = [iota([1, 1, 1, places, 1], 3), iota([1, 1, 1, 1, places], 4)];
  const counted = begins?.cumsum(2).pad(2, 1, 0).reshape([b, 1, 1, places]);
  const isLater = i.greaterEqual(j);
  const isSeen = counted ? isLater.and(counted.expandDims(4).equal(counted.expandDims(3))) : isLater;
  const decay = where(isSeen, sums.expandDims(4).sub(sums.expandDims(3)), NEVER).exp();
  return decay.matmul(added.reshape([b, g, r, places, p * n])).reshape([b, g, r, places, p, n]);
}
