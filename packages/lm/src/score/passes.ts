import { iota, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import { assertArgument, integer, PosttrainError } from '@posttrain/interfaces';
import type { SequenceInput } from '../model/network.js';
import { roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';
import { assertTokenIds } from '../tokenizer/token-ids.js';

/** Most tokens of a pass, padding included, where the caller does not say. */
export const MAX_TOKENS_PER_PASS = 4096;
/** The option for the token budget of a pass, padding included; a longer sequence has a pass of its own. Default 4096. */
export const maxTokensPerPass = integer({ default: MAX_TOKENS_PER_PASS, min: 1, decisive: false });

const LENGTH_STEP = 16;

/** Sequences that are run together. */
export interface Pass {
  /** Indices of the sequences, one per row of the grid; further rows are padding. */
  readonly sequences: readonly number[];
  /** int32 [rows, width], padded on the right; both sizes are among few, since every size is compiled for itself. */
  readonly tokens: Tensor;
  readonly width: number;
  /** int32 [rows]: the index of each row's last token; 0 in rows of padding. */
  readonly last: Tensor;
}

export interface PassOptions {
  /** Widest grid. Learned positions end at the context, even for padding. */
  readonly longest: number;
  /** Token budget of a pass, padding included; a longer sequence has a pass of its own. */
  readonly maxTokens: number;
  /** Most rows of a pass. Default: no limit of their own. */
  readonly maxRows?: number;
  /** Sequences that are in no pass. Default: none. */
  readonly leavesOut?: (sequence: readonly number[]) => boolean;
}

/** @throws PosttrainError naming the caller and the sequence that is too short or too long, or has what is no token id */
export function checkSequences(
  where: string,
  sequences: readonly (readonly number[])[],
  { shortest, longest, vocabSize }: { readonly shortest: number; readonly longest: number; readonly vocabSize: number },
): void {
  const isList =
    Array.isArray(sequences) && sequences.every((tokens) => Array.isArray(tokens) || ArrayBuffer.isView(tokens));
  assertArgument(where, 'sequences', sequences, isList, 'a list of lists of token ids');
  sequences.forEach((tokens, i) => {
    const { length } = tokens;
    if (length < shortest || length > longest) {
      const needed = `it needs ${shortest} to ${longest}`;
      throw new PosttrainError('SEQUENCE_LENGTH', `${where}: sequence ${i} has ${length} tokens; ${needed}`);
    }
    assertTokenIds(vocabSize, tokens, `${where}: sequence ${i}`);
  });
}

/** Puts sequences of similar length together. */
export function passesOf(
  sequences: readonly (readonly number[])[],
  { longest, maxTokens, maxRows = Number.POSITIVE_INFINITY, leavesOut = () => false }: PassOptions,
): Pass[] {
  const order = sequences
    .map((_, i) => i)
    .filter((i) => !leavesOut(sequences[i]!))
    .sort((a, b) => sequences[a]!.length - sequences[b]!.length);
  const passes: Pass[] = [];
  for (let start = 0; start < order.length; ) {
    const rows: number[] = [];
    let width = 0;
    for (const sequence of order.slice(start, start + maxTokens)) {
      const wider = Math.min(longest, roundUpToSize(Math.max(width, sequences[sequence]!.length), LENGTH_STEP));
      const count = roundUpToPowerOfTwo(rows.length + 1);
      if (rows.length > 0 && (wider * count > maxTokens || count > maxRows)) break;
      rows.push(sequence);
      width = wider;
    }
    start += rows.length;
    passes.push(passOf(sequences, rows, width));
  }
  return passes;
}

function passOf(sequences: readonly (readonly number[])[], rows: readonly number[], width: number): Pass {
  const count = roundUpToPowerOfTwo(rows.length);
  const last = new Int32Array(count);
  rows.forEach((sequence, row) => {
    last[row] = sequences[sequence]!.length - 1;
  });
  const tokens = gridOf(
    rows.map((sequence) => sequences[sequence]!),
    count,
    width,
  );
  return { sequences: rows, tokens, width, last: tensor(last, [count], 'int32') };
}

/** Rows as int32 [count, width], padded with 0 on the right and below. */
export function gridOf(rows: readonly (readonly number[])[], count: number, width: number): Tensor {
  const grid = new Int32Array(count * width);
  rows.forEach((row, i) => {
    grid.set(row, i * width);
  });
  return tensor(grid, [count, width], 'int32');
}

/** What a network takes of a pass: padding is on the right and attention is causal, so no real token sees it. */
export function passInput(tokens: Tensor, rowInputs?: SequenceInput['rowInputs']): SequenceInput {
  const [b, s] = tokens.shape as [number, number];
  return { tokens, positions: iota([b, s], 1), segments: zeros([b, s], 'int32'), ...(rowInputs && { rowInputs }) };
}
