import { concat, type Engine, realize, scalar, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { LowRankUpdate } from '../model/adapter.js';
import { roundUpToPowerOfTwo } from '../model/sizes.js';

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

/** Whom nobody's row has: what a stack is filled up with. */
const NOBODY = -2;

type Updates = Readonly<Record<string, LowRankUpdate>>;

interface StackedAdapters {
  readonly stack: LowRankStack;
  readonly isStacked: readonly boolean[];
}

/**
 * Stacks the adapters that can be: those with updates, all of whose numbers are finite, or they would spoil the others'
 * rows (0 · ∞ is not 0). `isStacked` says which.
 */
export async function stackLowRank(
  adapters: readonly (Updates | undefined)[],
  engine: Engine,
): Promise<StackedAdapters> {
  const stack = stackOf(adapters);
  const totals = adapters.map((updates) => (updates ? totalOf(updates) : undefined));
  const stacked = Object.values(stack.updates).flatMap(({ a, b }) => [a, b]);
  await realize([...stacked, ...totals.flatMap((total) => total ?? [])], { engine });
  const isStacked: boolean[] = [];
  for (const total of totals) isStacked.push(total !== undefined && Number.isFinite(await total.item()));
  if (adapters.every((updates, i) => !updates || isStacked[i])) return { stack, isStacked };
  const left = adapters.map((updates, i) => (isStacked[i] ? updates : undefined));
  const { stack: others } = await stackLowRank(left, engine);
  return { stack: others, isStacked };
}

/** Not finite unless all the numbers are. */
const totalOf = (updates: Updates): Tensor =>
  Object.values(updates)
    .flatMap(({ a, b, scale }) => [a.sum(), b.mul(scale).sum()])
    .reduce((sum, x) => sum.add(x), scalar(0));

function stackOf(adapters: readonly (Updates | undefined)[]): LowRankStack {
  const layouts = new Map<string, Tensor>();
  const stackIn = (module: string): StackedUpdate => {
    const parts = adapters.flatMap((updates, index) => (updates?.[module] ? [{ index, ...updates[module] }] : []));
    const owners = parts.flatMap(({ index, a }) => Array.from({ length: a.shape[0]! }, () => index));
    // Room for two at least: one alone would be no copy, and the second needs nothing compiled.
    const rest = roundUpToPowerOfTwo(owners.length * (parts.length === 1 ? 2 : 1)) - owners.length;
    const padded = [...owners, ...Array.from({ length: rest }, () => NOBODY)];
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
  const modules = [...new Set(adapters.flatMap((updates = {}) => Object.keys(updates)))].sort();
  const updates = Object.fromEntries(modules.map((module) => [module, stackIn(module)]));
  return { updates, owners: [...layouts.values()] };
}
