import type { DecoderFields } from './decoder-family.js';

/** A recurrence over time, whose state the cache has in the place of a key and a value for each token. */
export type Recurrence = Mamba2 | GatedDelta;

interface RecurrentLayers {
  /** Which layers have one. */
  readonly layers: readonly boolean[];
  /** Whether these attend as well, and add both up. Otherwise it is in the place of attention. */
  readonly beside: boolean;
  /** What it is called in a block. */
  readonly module: string;
  /** Tokens that the convolution before it reads. */
  readonly taps: number;
  /** The most tokens that are computed as one chunk. */
  readonly chunk: number;
}

/** Mamba 2 (arXiv 2405.21060): see `selectiveScan` and `mamba2`. */
export interface Mamba2 extends RecurrentLayers {
  readonly kind: 'mamba2';
  readonly heads: number;
  readonly headDim: number;
  /** Groups of heads that read and write the state alike. */
  readonly groups: number;
  /** Components of a state for each component of a head. */
  readonly stateSize: number;
  readonly biases: { readonly input: boolean; readonly output: boolean; readonly convolution: boolean };
  /** What a step takes is cut off at these. */
  readonly timeLimits: readonly [low: number, high: number];
  /** How a new model draws the bias of steps: log-uniformly between these and no less than `floor`, or all 1. */
  readonly newTimes?: { readonly low: number; readonly high: number; readonly floor: number };
  /** The norm before the output, of each group by itself, and whether it comes before the gate. Left out: there is none. */
  readonly norm?: { readonly epsilon: number; readonly beforeGate: boolean };
  /** What the input, the parts of the projected input (gate, x, B, C, steps) and the output are multiplied by. */
  readonly factors: { readonly input: number; readonly parts: readonly number[]; readonly output: number };
}

/** A gated delta network (arXiv 2412.06464) as Qwen3-Next has it: see `gatedDeltaRule` and `gatedDelta`. */
export interface GatedDelta extends RecurrentLayers {
  readonly kind: 'gated-delta';
  /** Heads of queries and keys, each for as many heads of values. */
  readonly keyHeads: number;
  readonly valueHeads: number;
  /** Components of a head. */
  readonly keyDim: number;
  readonly valueDim: number;
  /** Of the norm before the output. */
  readonly epsilon: number;
  /** Whether queries, keys, values and gates are one projection, key head by key head, as are strengths and decays. */
  readonly joined: boolean;
}

/** Longer chunks cost more than they save. */
const LONGEST_CHUNK = 64;

/** The chunk of a file, as it is used here. */
export const chunkSize = (fields: DecoderFields, name: string): number =>
  Math.min(LONGEST_CHUNK, fields.size(name, 256));

/** Features that the convolution of a Mamba 2 reads: x, B and C. */
export const convolvedBy = ({ heads, headDim, groups, stateSize }: Mamba2): number =>
  heads * headDim + 2 * groups * stateSize;

/** Features that the convolution of a gated delta network reads: queries, keys and values. */
export const mixedBy = ({ keyHeads, valueHeads, keyDim, valueDim }: GatedDelta): number =>
  2 * keyHeads * keyDim + valueHeads * valueDim;

/** `time_step_limit`: two numbers, of which the second may be infinite, in the ways in which transformers writes that. */
export function timeLimits(fields: DecoderFields): readonly [number, number] {
  const given = fields.raw('time_step_limit');
  if (!fields.has('time_step_limit')) return [0, Number.POSITIVE_INFINITY];
  const numbers = Array.isArray(given) ? given.map(asNumber) : [];
  const [low, high] = numbers;
  if (numbers.length === 2 && typeof low === 'number' && typeof high === 'number' && low >= 0 && low <= high) {
    return [low, high];
  }
  return fields.fail('time_step_limit', 'two numbers, at least 0 and in order');
}

const INFINITE = { __float__: 'Infinity' };

const asNumber = (value: unknown): unknown =>
  JSON.stringify(value) === JSON.stringify(INFINITE) ? Number.POSITIVE_INFINITY : value;

/** The inverse, for JSON. */
export const timeLimitsToJson = (limits: readonly [number, number]) =>
  limits.map((limit) => (limit === Number.POSITIVE_INFINITY ? INFINITE : limit));
