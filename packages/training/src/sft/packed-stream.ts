import { Key } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { contentHash } from '../run/identity.js';
import { type RowSource, rowsOfSource } from '../run/row-source.js';
import { copyState } from '../run/stored-state.js';
import { type PackedRow, type PackingStrategy, packRows } from './packing.js';
import type { SftRow, TokenizedRow } from './tokenize-rows.js';

/** Rows of a source, packed while they stream. */
export interface PackedStream {
  /** @param step counted from 0 @param count packed rows */
  take(step: number, count: number): Promise<readonly PackedRow[]>;
  /** Where it is: the state of the source before the rows of the buffer, and how many packed rows of it have been given. */
  state(): unknown;
  load(state: unknown): Promise<void>;
}

/** How a stream is packed. */
export interface PackedStreamOptions {
  /** Rows of the source that are packed together. */
  readonly buffer: number;
  /** Tokens of a packed row. */
  readonly capacity: number;
  readonly strategy: PackingStrategy;
  readonly seed: number;
  /** @throws SftRowError; PosttrainError where it leaves none */
  readonly tokenize: (rows: readonly SftRow[], step: number) => readonly TokenizedRow[];
}

interface Place {
  readonly source: unknown;
  /** The step that asked for the buffer, and how many buffers it had asked for before. */
  readonly step: number;
  readonly fill: number;
  /** Packed rows of the buffer that have been given, in an order that is drawn. */
  readonly used: number;
  /** Of the packed rows, so that a source that gives others is noticed. Absent in checkpoints of earlier versions. */
  readonly digest?: string;
}

/**
 * Packing while streaming: `buffer` rows of the source are packed together (`packRows`), as TRL's `pack_dataset` does with the batches of
 * `Dataset.map`, and their packed rows given in an order that is drawn. One buffer is in memory at a time, and no row is packed with one
 * of another. A run that is resumed asks for the rows of its buffer again, and goes on in it with the same bytes.
 */
export function packedStream(source: RowSource<SftRow>, options: PackedStreamOptions): PackedStream {
  const { buffer, capacity, strategy, seed, tokenize } = options;
  const what = `the state of the source ${source.name}`;
  let packed: readonly PackedRow[] = [];
  let at: Place | undefined;

  async function fill(step: number, number: number): Promise<void> {
    const before = source.state ? await copyState(await source.state(), what) : null;
    const key = Key.fromSeed(seed).child(step).child(number);
    const given = await rowsOfSource('sft', source, { count: buffer, step, key });
    const sequences = tokenize(
      given.map(({ row }) => row),
      step,
    );
    const rows = packRows(sequences, capacity, strategy);
    if (rows.length === 0) {
      const problem = `packing ${buffer} rows of ${source.name} by ${strategy} leaves no trained token; raise maxLength or packingBuffer`;
      throw new PosttrainError('SFT_ROWS', `sft, step ${step}: ${problem}`);
    }
    packed = createRandom(seed, 'packed', step, number).shuffled(rows);
    at = { source: before, step, fill: number, used: 0, digest: contentHash(packed.map(({ tokens }) => tokens)) };
  }

  return {
    async take(step, count) {
      const taken: PackedRow[] = [];
      for (let fills = 0; taken.length < count; ) {
        if (!at || at.used === packed.length) await fill(step, fills++);
        const more = packed.slice(at!.used, at!.used + count - taken.length);
        taken.push(...more);
        at = { ...at!, used: at!.used + more.length };
      }
      return taken;
    },
    state: () => at,
    async load(state) {
      const place = state as Place;
      await source.load?.(place.source);
      await fill(place.step, place.fill);
      if (place.digest !== undefined ? place.digest !== at!.digest : place.used > packed.length) {
        const problem = `the source ${source.name} gives other rows than when the checkpoint was written`;
        throw new PosttrainError(
          'SFT_ROWS',
          `sft, step ${place.step}: ${problem}; give it the same data, or begin anew`,
        );
      }
      at = { ...at!, used: place.used };
    },
  };
}
