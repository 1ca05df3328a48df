import { type Tensor, tensor } from '@posttrain/core-tensor';
import type { LongRope, RopeConfig, YarnRope } from '../config/index.js';

/** Rotary position embedding (RoPE) of a layer. */
export interface Rotation {
  /** Of each pair, in radians per position: float32 [pairs]. */
  readonly frequencies: Float32Array;
  /** What cos and sin are multiplied by. */
  readonly scale: number;
}

// Every step is rounded to float32 where torch does it: a frequency that is off by its last bits turns far positions by
// visible angles, and checkpoints were trained with the rounded ones. torch divides a number by a tensor by multiplying
// with the reciprocal. (Its vectorised power differs from the nearest float32 by one unit in about 1 of 100 pairs.)
const round = Math.fround;
const reciprocal = (x: number): number => round(1 / x);

/** theta^(2i/width) for each pair of the `width` rotated components. */
function periods(theta: number, width: number): number[] {
  return Array.from({ length: Math.ceil(width / 2) }, (_, i) => round(round(theta) ** round((2 * i) / width)));
}

/**
 * The rotation of `width` components: theta^(-2i/width), changed by the kind of scaling. See `RopeConfig` and `LongRope`
 * for the kinds; of `longrope` the long factors with `longContext`.
 */
export function rotationOf(rope: RopeConfig | LongRope, width: number, longContext = false): Rotation {
  const all = periods(rope.theta, width);
  if (rope.type === 'yarn') {
    return { frequencies: yarnFrequencies(rope, all, width), scale: rope.attentionFactor };
  }
  if (rope.type === 'longrope') {
    const factors = longContext ? rope.longFactor : rope.shortFactor;
    const frequencies = Float32Array.from(all, (period, i) => reciprocal(round(round(factors[i]!) * period)));
    return { frequencies, scale: rope.attentionFactor };
  }
  return { frequencies: Float32Array.from(all, (period) => scaledFrequency(rope, reciprocal(period))), scale: 1 };
}

function scaledFrequency(rope: Exclude<RopeConfig, YarnRope>, frequency: number): number {
  if (rope.type === 'linear') return round(frequency / round(rope.factor));
  if (rope.type !== 'llama3') return frequency;
  const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositionEmbeddings: length } = rope;
  const wavelength = round(reciprocal(frequency) * round(2 * Math.PI));
  if (wavelength > round(length / low)) return round(frequency / round(factor));
  if (wavelength < round(length / high)) return frequency;
  const turns = round(reciprocal(wavelength) * length);
  const smooth = round(round(turns - round(low)) / round(high - low));
  const slowed = round(round(round(1 - smooth) * frequency) / round(factor));
  return round(slowed + round(smooth * frequency));
}

function yarnFrequencies(rope: YarnRope, all: readonly number[], width: number): Float32Array {
  const { theta, factor, betaFast, betaSlow, truncate, originalMaxPositionEmbeddings: length } = rope;
  const pairWithTurns = (turns: number) => (width * Math.log(length / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [from, to] = [pairWithTurns(betaFast), pairWithTurns(betaSlow)];
  const low = Math.max(truncate ? Math.floor(from) : from, 0);
  const last = Math.min(truncate ? Math.ceil(to) : to, width - 1);
  const high = low === last ? last + 0.001 : last;
  return Float32Array.from(all, (period, i) => {
    const ramp = Math.min(1, Math.max(0, round(round(i - round(low)) / round(high - low))));
    const kept = round(1 - ramp);
    const slowed = reciprocal(round(round(factor) * period));
    return round(round(slowed * round(1 - kept)) + round(reciprocal(period) * kept));
  });
}

/** cos and sin [b, s, pairs] of the angles at positions int32 [b, s], as `rotary` takes them. */
export function rotaryAngles(
  positions: Tensor,
  { frequencies, scale }: Rotation,
  { dtype }: Pick<Tensor, 'dtype'>,
): [cos: Tensor, sin: Tensor] {
  // Positions need float32; queries and keys have the dtype of the model.
  const angles = positions.cast('float32').expandDims(2).mul(tensor(frequencies));
  const scaled = (x: Tensor) => (scale === 1 ? x : x.mul(scale)).cast(dtype);
  return [scaled(angles.cos()), scaled(angles.sin())];
}
