import { tensor } from '@posttrain/core-tensor';
import { roundUpToPowerOfTwo } from '../model/sizes.js';
import type { ExtendRow } from './extend-inputs.js';
import type { PagedStepInput } from './paged-steps.js';

/** What a pass computes of a row. */
export interface PassRow<Sequence> {
  readonly row: ExtendRow<Sequence>;
  /** Tokens `from` … `to - 1` of those that the row gets. */
  readonly from: number;
  readonly to: number;
  /** How many of the last of them are asked about. */
  readonly asked: number;
}

export interface PassInputs {
  /** What a step takes whether it reads the blocks or a copy of them. */
  readonly inputs: Pick<PagedStepInput, 'tokens' | 'lengths' | 'rates'>;
  /** Which of the count · width positions are asked about. */
  readonly positions: readonly number[];
}

/** The inputs of a pass with its rows at `places` of [count, width]. One token wide, all of its positions have results. */
export function passInputs<Sequence extends { readonly length: number }>(
  pass: readonly PassRow<Sequence>[],
  places: readonly number[],
  count: number,
  width: number,
): PassInputs {
  const tokens = new Int32Array(count * width);
  const lengths = new Int32Array(count);
  const positions: number[] = [];
  const temperatures: (number | undefined)[] = [];
  pass.forEach(({ row, from, to, asked }, i) => {
    const place = places[i]!;
    for (let n = from; n < to; n++) tokens[place * width + n - from] = row.tokens[n]!;
    lengths[place] = row.sequence.length;
    for (let n = to - asked; n < to; n++) {
      positions.push(place * width + n - from);
      temperatures.push(row.temperature);
    }
  });
  const inputs = { tokens: tensor(tokens, [count, width]), lengths: tensor(lengths, [count]) };
  if (temperatures.every((temperature) => temperature === undefined)) return { inputs, positions };
  const rates = new Float32Array(width === 1 ? count : paddedLength(positions)).fill(1);
  temperatures.forEach((temperature, i) => {
    rates[width === 1 ? positions[i]! : i] = 1 / (temperature || 1);
  });
  return { inputs: { ...inputs, rates: tensor(rates) }, positions };
}

/** Positions for a step to give results of: of few lengths, and 0 for those that nobody asks about. */
export function paddedPositions(positions: readonly number[]): Int32Array {
  const padded = new Int32Array(paddedLength(positions));
  padded.set(positions);
  return padded;
}

const paddedLength = (positions: readonly number[]): number => roundUpToPowerOfTwo(positions.length);
