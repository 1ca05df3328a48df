import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Measurement, Side } from './side.js';

/** The measurements of one case, pair by pair: entry i of both sides was taken one right after the other. */
export interface Comparison {
  readonly own: readonly Measurement[];
  readonly peer: readonly Measurement[];
  /** The first call of each side, with tracing, compiling and filling caches. */
  readonly first: { readonly own: Measurement; readonly peer: Measurement };
  /** Largest difference of the two sides' numbers, relative to the larger of 1 and the number; over all calls. */
  readonly difference: number;
  /** One-minute load average of the machine when the case ended. */
  readonly load: number;
}

/** Resident memory of a process. */
export interface MemoryUse {
  /** With everything loaded, before the first call. */
  readonly startBytes: number;
  /** Its largest so far. */
  readonly peakBytes: number;
}

/** Peer's time divided by ours: above 1 we are faster. */
export interface Ratio {
  /** Median of the ratios pair by pair. */
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  /** The smallest time of the peer by our smallest: the least disturbed of each. */
  readonly ofMinima: number;
}

/** Worker threads of both sides go on spinning for a moment after their work. */
const REST_MILLISECONDS = 200;

/**
 * Measures a case on both sides in turns: own, peer, own, peer. The first calls are compared before anything is timed.
 *
 * @throws Error when the numbers of the two sides differ by more than `tolerance`
 */
export async function compareSides(
  sides: { readonly own: Side; readonly peer: Side },
  index: number,
  options: { readonly repetitions: number; readonly tolerance: number; readonly what: string },
): Promise<Comparison> {
  const { repetitions, tolerance, what } = options;
  let difference = 0;
  const pair = async () => {
    const own = await sides.own.measure(index);
    await sleep(REST_MILLISECONDS);
    const peer = await sides.peer.measure(index);
    await sleep(REST_MILLISECONDS);
    difference = Math.max(difference, largestDifference(own.numbers, peer.numbers));
    if (!(difference <= tolerance)) {
      throw new Error(`${what}: the two sides differ by ${difference}, more than ${tolerance}; nothing was timed`);
    }
    return { own, peer };
  };
  const first = await pair();
  await pair();
  const pairs: Awaited<ReturnType<typeof pair>>[] = [];
  while (pairs.length < repetitions) pairs.push(await pair());
  return {
    own: pairs.map(({ own }) => own),
    peer: pairs.map(({ peer }) => peer),
    first,
    difference,
    load: loadavg()[0]!,
  };
}

/** NaN when the lists differ in length or hold something that is no number. */
export function largestDifference(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length || a.length === 0) return Number.NaN;
  return a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!) / Math.max(1, Math.abs(b[i]!))), 0);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function ratioOf({ own, peer }: Pick<Comparison, 'own' | 'peer'>, time: 'seconds' | 'processorSeconds'): Ratio {
  const ratios = own.map((measurement, i) => peer[i]![time] / measurement[time]);
  const smallest = (side: readonly Measurement[]) => Math.min(...side.map((measurement) => measurement[time]));
  return {
    median: median(ratios),
    lowest: Math.min(...ratios),
    highest: Math.max(...ratios),
    ofMinima: smallest(peer) / smallest(own),
  };
}
