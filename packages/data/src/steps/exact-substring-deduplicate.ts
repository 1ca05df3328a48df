import { type Given, integer, options, text } from '@posttrain/interfaces';
import { Places, placesOf, Uint32List } from '../dedup/row-marks.js';
import type { Row } from '../rows.js';
import { compareRecords } from '../spill/sort-records.js';
import { SortedRecords } from '../spill/sorted-records.js';
import type { DataStep } from '../step.js';
import { textOf } from './minhash-deduplicate.js';

const exactSubstringOptions = options('exactSubstringDeduplicate', {
  /** Column of the text. Default `"text"`. */
  text: text({ default: 'text' }),
  /** Characters (UTF-16 units) of the shortest repetition that is cut out. Default 200, about the paper's 50 tokens. */
  length: integer({ default: 200, min: 2 }),
  /** Memory for hashes of substrings, which go to disk beyond it: 20 bytes to a character of text. Default 256 MiB. */
  memoryBytes: integer({ default: 256 * 2 ** 20, min: 2 ** 16, decisive: false }),
});
/** Options of `exactSubstringDeduplicate`. */
export type ExactSubstringDeduplicateOptions = Given<typeof exactSubstringOptions>;

/** What is cut out of texts, in order and apart: of the row at `rows[i]` among those of all shards, the characters `[starts[i], ends[i])`. */
export interface SubstringPlan {
  readonly rows: Uint32Array;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  /** The rank of each row, of several shards. */
  readonly ranks?: Uint32Array;
}

/** Largest primes below 2^26: a product of two residues is exact in a double. Three hashes are 78 bits. */
const PRIMES = [67108859, 67108837, 67108819] as const;
const BASES = [33554467, 41943049, 50331653] as const;
const HASH_BYTES = 12;
const RECORD_BYTES = HASH_BYTES + 8;

/**
 * Exact substring deduplication (ExactSubstr, arXiv 2107.06499 §4.1): what is `length` characters or longer and was already in the text of this row or of one
 * before it is cut out, and its first occurrence stays. The paper finds repetitions with a suffix array; here every substring of exactly `length`
 * characters is hashed as the text goes by, and equal hashes are brought together by sorting, on disk beyond `memoryBytes`. Both find the same,
 * as a longer repetition is the union of those of `length`. An occurrence that overlaps the first one is none.
 *
 * A cut never splits a character of two units: one that is cut by half stays whole. A row of which something is left keeps its id; one of which nothing is left but white space is dropped. The plan is the
 * cuts, twelve bytes each.
 *
 * @throws OptionError; RowError where the text is none
 */
export function exactSubstringDeduplicate<R extends object = Row>(
  given: ExactSubstringDeduplicateOptions = {},
): DataStep<R, R, SubstringPlan> {
  const { text: column, length, memoryBytes } = exactSubstringOptions.read(given);
  const name = 'exact substring deduplicate';
  return {
    name,
    version: JSON.stringify(exactSubstringOptions.settings(given)),
    async plan(rows, context) {
      const sorting = { memoryBytes: Math.floor(memoryBytes / 2), folder: () => context.scratch() };
      const records = new SortedRecords({ recordBytes: RECORD_BYTES, ...sorting });
      const record = Buffer.alloc(RECORD_BYTES);
      const places = new Places(context.shard);
      for await (const row of rows) {
        record.writeUInt32BE(places.next(row, context), HASH_BYTES);
        for (const start of rollingHashes(textOf(row, column, places.count), length, record)) {
          record.writeUInt32BE(start, HASH_BYTES + 4);
          const full = records.add(record);
          if (full !== undefined) await full;
        }
        if (places.count % 1000 === 0) context.onProgress({ stage: `${name}: substrings`, done: places.count });
      }
      const repeated = new SortedRecords({ recordBytes: 8, name: 'repeated', ...sorting });
      const first = Buffer.alloc(RECORD_BYTES);
      // Equal hashes follow each other, in the order of rows and of places in them.
      let isFirst = true;
      for await (const batch of records.batches()) {
        for (let at = 0; at < batch.length; at += RECORD_BYTES) {
          if (isFirst || compareRecords(batch, at, first, 0, HASH_BYTES) !== 0)
            batch.copy(first, 0, at, at + RECORD_BYTES);
          else {
            const [row, start] = [batch.readUInt32BE(at + HASH_BYTES), batch.readUInt32BE(at + HASH_BYTES + 4)];
            const overlaps =
              row === first.readUInt32BE(HASH_BYTES) && start < first.readUInt32BE(HASH_BYTES + 4) + length;
            if (!overlaps) await repeated.add(batch.subarray(at + HASH_BYTES, at + RECORD_BYTES));
          }
          isFirst = false;
        }
      }
      const ranks = places.ranks();
      return { ...(await unions(repeated, length)), ...(ranks && { ranks }) };
    },
    async *apply(rows, context, cuts) {
      const next = placesOf(cuts.ranks, context.shard);
      let [rowNumber, at] = [0, 0];
      for await (const row of rows) {
        const whole = textOf(row, column, ++rowNumber);
        const place = next();
        while (at < cuts.rows.length && cuts.rows[at]! < place) at++;
        const own: (readonly [number, number])[] = [];
        for (; cuts.rows[at] === place; at++) own.push([cuts.starts[at]!, cuts.ends[at]!]);
        if (own.length === 0) {
          yield row;
          continue;
        }
        const cut = own.map(([start, end]) => [start + inPair(whole, start), end - inPair(whole, end)] as const);
        const ends = [0, ...cut.map(([, end]) => end)];
        const left = ends.map((end, i) => whole.slice(end, cut[i]?.[0])).join('');
        if (left.trim() === '') context.drop(row, 'all of its text was there before');
        else yield context.derive({ ...row, [column]: left }, row);
      }
    },
  };
}

/** 1 at a place between the two halves of a character beyond 16 bits, of which none may stay alone; elsewhere 0. */
const inPair = (text: string, at: number): 0 | 1 =>
  at > 0 && /[\ud800-\udbff]/.test(text[at - 1]!) && /[\udc00-\udfff]/.test(text[at] ?? '') ? 1 : 0;

/** The places of all substrings of a length; the hash of each is in the first 12 bytes of `into` when its place is given. */
function* rollingHashes(text: string, length: number, into: Buffer): Generator<number> {
  const leading = PRIMES.map((prime, k) => {
    let power = 1;
    for (let i = 1; i < length; i++) power = (power * BASES[k]!) % prime;
    return power;
  });
  const hashes = [0, 0, 0];
  for (let end = 1; end <= text.length; end++) {
    for (let k = 0; k < 3; k++) {
      const prime = PRIMES[k]!;
      let hash = hashes[k]!;
      if (end > length) hash = (hash + prime - ((text.charCodeAt(end - 1 - length) * leading[k]!) % prime)) % prime;
      hashes[k] = (hash * BASES[k]! + text.charCodeAt(end - 1)) % prime;
      if (end >= length) into.writeUInt32BE(hashes[k]!, 4 * k);
    }
    if (end >= length) yield end - length;
  }
}

/** Of each row the union of `[start, start + length)`, from records of rows and starts. */
async function unions(records: SortedRecords, length: number): Promise<Omit<SubstringPlan, 'ranks'>> {
  const [rows, starts, ends] = [new Uint32List(), new Uint32List(), new Uint32List()];
  let open: { readonly row: number; readonly start: number; end: number } | undefined;
  const close = (): void => {
    if (open === undefined) return;
    rows.push(open.row);
    starts.push(open.start);
    ends.push(open.end);
  };
  for await (const batch of records.batches()) {
    for (let at = 0; at < batch.length; at += 8) {
      const [row, start] = [batch.readUInt32BE(at), batch.readUInt32BE(at + 4)];
      if (open?.row === row && start <= open.end) open.end = start + length;
      else {
        close();
        open = { row, start, end: start + length };
      }
    }
  }
  close();
  return { rows: rows.toArray(), starts: starts.toArray(), ends: ends.toArray() };
}
