import { concat, realize, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { LowRankUpdate } from './adapter.js';
import { roundUpToPowerOfTwo } from './sizes.js';

/**
 * Low-rank updates of several adapters, one behind the other, in memory of their own. Nothing but the shapes depends on
 * whose they are, so that other adapters for the same modules need nothing compiled.
 */
export interface LowRankStack {
  readonly updates: Readonly<Record<string, StackedUpdate>>;
  /** int32 [R] each: the adapter that each of the R rows of a stack belongs to. */
  readonly owners: readonly Tensor[];
}

/** All updates of a module. */
interface StackedUpdate {
  /** [R, in], R being a power of two; what is left over is zero. */
  readonly a: Tensor;
  /** [out, R], with the scales in it. */
  readonly b: Tensor;
  /** Index into `owners`. */
  readonly owner: number;
}

type Updates = Readonly<Record<string, LowRankUpdate>>;

/**
 * Stacks the adapters that can be: those with updates, all of whose numbers are finite, or they would spoil the others'
 * rows (0 · ∞ is not 0). `isStacked` says which.
 */
export async function stackLowRank(
  adapters: readonly (Updates | undefined)[],
): Promise<{ readonly stack: LowRankStack; readonly isStacked: readonly boolean[] }> {
  const isStacked = await Promise.all(adapters.map((updates) => updates !== undefined && allFinite(updates)));
  const stacked = adapters.flatMap((updates, index) => (isStacked[index] ? [{ index, updates: updates! }] : []));
  const layouts = new Map<string, Tensor>();
  const stackOf = (module: string): StackedUpdate => {
    const parts = stacked.flatMap(({ index, updates }) => (updates[module] ? [{ index, ...updates[module] }] : []));
    const owners = parts.flatMap(({ index, a }) => Array.from({ length: a.shape[0]! }, () => index));
    const rest = roundUpToPowerOfTwo(owners.length) - owners.length;
    const padded = [...owners, ...Array.from({ length: rest }, () => -2)];
    const layout = padded.join();
    if (!layouts.has(layout)) layouts.set(layout, tensor(Int32Array.from(padded), [padded.length], 'int32'));
    const { a, b } = parts[0]!;
    const fill = (shape: readonly number[], like: Tensor) => (rest > 0 ? [zeros(shape, like.dtype)] : []);
    return {
      a: concat([...parts.map((part) => part.a), ...fill([rest, a.shape[1]!], a)], 0),
      b: concat([...parts.map((part) => part.b.mul(part.scale)), ...fill([b.shape[0]!, rest], b)], 1),
      owner: [...layouts.keys()].indexOf(layout),
    };
  };
  const modules = [...new Set(stacked.flatMap(({ updates }) => Object.keys(updates)))].sort();
  const updates = Object.fromEntries(modules.map((module) => [module, stackOf(module)]));
  await realize(Object.values(updates).flatMap(({ a, b }) => [a, b]));
  return { stack: { updates, owners: [...layouts.values()] }, isStacked };
}

/** Whether all numbers are finite: their sum is not otherwise. */
async function allFinite(updates: Updates): Promise<boolean> {
  const sums = Object.values(updates).flatMap(({ a, b, scale }) => [a.sum(), b.mul(scale).sum()]);
  const total = sums.reduce((sum, x) => sum.add(x), tensor([0]));
  return Number.isFinite(await total.item());
}
