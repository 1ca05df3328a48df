import { type Tensor, type TokenTree, tensor } from '@posttrain/core-tensor';
import { roundUpToPowerOfTwo } from '../model/sizes.js';
import { depthsOf, type ExtendRow } from './extend-inputs.js';
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

interface PassInputs {
  /** What a step takes whether it reads the blocks or a copy of them. */
  readonly inputs: Pick<PagedStepInput, 'tokens' | 'lengths' | 'rates' | 'rowInputs'>;
  /** Which of the count · width positions are asked about. */
  readonly positions: readonly number[];
}

/**
 * Writes the inputs of passes, to the same memory where they have the same size: engines have it at hand already. Those of a
 * pass hold until the next, and nobody looks at them once their pass is over.
 */
export class InputMemory {
  readonly #tokens = new Map<number, Int32Array>();
  readonly #lengths = new Map<number, Int32Array>();
  readonly #rates = new Map<number, Float32Array>();

  /** The inputs of a pass with its rows at `places` of [count, width]. One token wide, all of its positions have results. */
  write<Sequence extends { readonly stored: number }>(
    pass: readonly PassRow<Sequence>[],
    places: readonly number[],
    [count, width]: readonly [number, number],
    names: readonly string[] = [],
  ): PassInputs {
    const tokens = arrayOf(this.#tokens, count * width, Int32Array).fill(0);
    const lengths = arrayOf(this.#lengths, count, Int32Array).fill(0);
    const positions: number[] = [];
    const temperatures: (number | undefined)[] = [];
    pass.forEach(({ row, from, to, asked }, i) => {
      const place = places[i]!;
      for (let n = from; n < to; n++) tokens[place * width + n - from] = row.tokens[n]!;
      lengths[place] = row.sequence.stored;
      for (let n = to - asked; n < to; n++) {
        positions.push(place * width + n - from);
        temperatures.push(row.temperature);
      }
    });
    const inputs = {
      ...{ tokens: tensor(tokens, [count, width]), lengths: tensor(lengths, [count]) },
      ...(names.length > 0 && { rowInputs: rowInputs(pass, places, count, names) }),
    };
    if (temperatures.every((temperature) => temperature === undefined)) return { inputs, positions };
    const rates = arrayOf(this.#rates, width === 1 ? count : paddedLength(positions), Float32Array).fill(1);
    temperatures.forEach((temperature, i) => {
      rates[width === 1 ? positions[i]! : i] = 1 / (temperature || 1);
    });
    return { inputs: { ...inputs, rates: tensor(rates) }, positions };
  }
}

/** The trees of a pass whose rows are at their own index of [count, width]; undefined where all rows are sequences. */
export function treeInputs(
  pass: readonly (Pick<PassRow<unknown>, 'from' | 'to'> & { readonly row: Pick<ExtendRow<unknown>, 'parents'> })[],
  count: number,
  width: number,
): TokenTree | undefined {
  if (width === 1 || !pass.some(({ row }) => row.parents)) return undefined;
  const depths = new Int32Array(count * width);
  const visible = new Int32Array(count * width * width);
  // Padding sees itself, so that it has something to see.
  for (let at = 0; at < count * width; at++) visible[at * width + (at % width)] = 1;
  pass.forEach(({ row: { parents }, from, to }, i) => {
    depths.set(depthsOf(to - from, parents), i * width);
    for (let n = 1; n < to - from; n++) {
      const own = (i * width + n) * width;
      const parent = parents ? parents[n]! : n - 1;
      if (parent < 0) continue;
      const theirs = (i * width + parent) * width;
      for (let m = 0; m <= parent; m++) if (visible[theirs + m]) visible[own + m] = 1;
    }
  });
  return { depths: tensor(depths, [count, width]), visible: tensor(visible, [count, width, width]) };
}

/** `Adapter.rowInputs` of each row; 0 for rows whose adapter does not read them. */
function rowInputs(
  pass: readonly Pick<PassRow<unknown>, 'row'>[],
  places: readonly number[],
  count: number,
  names: readonly string[],
): Readonly<Record<string, Tensor>> {
  const of = (name: string) => {
    const values = new Int32Array(count);
    pass.forEach(({ row }, i) => {
      values[places[i]!] = row.adapter.inputs?.[name] ?? 0;
    });
    return [name, tensor(values, [count], 'int32')] as const;
  };
  return Object.fromEntries(names.map(of));
}

/** The array of this length: there are few. */
function arrayOf<T>(known: Map<number, T>, length: number, Type: new (length: number) => T): T {
  const array = known.get(length) ?? new Type(length);
  known.set(length, array);
  return array;
}

/** Positions for a step to give results of: of few lengths, and 0 for those that nobody asks about. */
export function paddedPositions(positions: readonly number[]): Int32Array {
  const padded = new Int32Array(paddedLength(positions));
  padded.set(positions);
  return padded;
}

const paddedLength = (positions: readonly number[]): number => roundUpToPowerOfTwo(positions.length);
