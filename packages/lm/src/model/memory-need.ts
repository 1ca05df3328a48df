import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import type { TensorInfo } from '@posttrain/core-tensor/io';
import { PosttrainError } from '@posttrain/interfaces';

const ADVICE =
  "Quantise it as it loads (quantization: { method: 'nf4' } takes about a seventh of float32), end other programs, or take a machine with more.";

/** What a model's weights, or what training them holds, is more than the memory that there is. Nothing has been begun. */
export class ModelMemoryError extends PosttrainError {
  /** @param advice what to do; default: of loading. @param what needs the memory */
  constructor(
    path: string,
    needed: number,
    available: number,
    advice: string = ADVICE,
    what: string = 'its weights need GB of memory as they would be held here',
  ) {
    const need = what.replace('GB', `${gigabytes(needed)} GB`);
    super('MODEL_MEMORY', `${path}: ${need}, and ${gigabytes(available)} GB are free. ${advice}`);
  }
}

const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(1);

/** A parameter to be read, and how it will be held. */
export interface PlannedWeight {
  readonly shape: readonly number[];
  /** Of one that stays as its file has it: that tensor. */
  readonly kept?: TensorInfo | undefined;
  /** Of one that is quantised as it is read. */
  readonly bitsPerWeight?: number | undefined;
}

/** The least bytes that weights take: float32, or what they are stored or quantised as, scales left out. */
export function bytesOf(weights: Iterable<PlannedWeight>): number {
  let bytes = 0;
  for (const { shape, kept, bitsPerWeight = 32 } of weights) {
    bytes += kept ? kept.byteLength : (shape.reduce((product, size) => product * size, 1) * bitsPerWeight) / 8;
  }
  return bytes;
}

/**
 * Bytes that this process can still take, swap included: on Linux what is available under the limits of its control group, elsewhere
 * (where what counts as free says little) all that the machine has.
 */
export function availableBytes(): number {
  if (process.platform !== 'linux') return totalmem();
  return (process.availableMemory?.() || totalmem()) + freeSwap();
}

/** Bytes; 0 where the system does not say, as in a sandbox without /proc. */
function freeSwap(): number {
  try {
    return 1024 * Number(/^SwapFree:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** @throws ModelMemoryError when weights cannot be held */
export function assertFits(path: string, weights: Iterable<PlannedWeight>, available: number = availableBytes()): void {
  const needed = bytesOf(weights);
  if (needed > available) throw new ModelMemoryError(path, needed, available);
}
