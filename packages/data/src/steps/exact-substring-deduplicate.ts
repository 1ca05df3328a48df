import { type Given, integer, options, text } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { SortedRecords } from '../spill/sorted-records.js';
import type { DataStep } from '../step.js';
import { assertDistinct, textOf } from './minhash-deduplicate.js';

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

/** Of rows by id, what is cut out of their texts: `[start, end)`, in order and apart. */
export interface SubstringPlan {
  readonly cuts: ReadonlyMap<string, readonly (readonly [start: number, end: number])[]>;
}

/** Largest primes below 2^26: a product of two residues is exact in a double. Three hashes are 78 bits. */
const PRIMES = [67108859, 67108837, 67108819] as const;
const BASES = [33554467, 41943049, 50331653] as const;
const RECORD_BYTES = 20;

/**
 * Exact substring deduplication (ExactSubstr, arXiv 2107.06499 §4.1): what is `length` characters or longer and was already in the text of this row or of one
 * before it is cut out, and its first occurrence stays. The paper finds repetitions with a suffix array; here every substring of exactly `length`
 * characters is hashed as the text goes by, and equal hashes are brought together by sorting, on disk beyond `memoryBytes`. Both find the same,
 * as a longer repetition is the union of those of `length`. An occurrence that overlaps the first one is none.
 *
 * A cut never splits a character of two units: one that is cut by half stays whole. A row of which something is left keeps its id; one of which nothing is left but white space is dropped. The plan keeps the ids of rows and the cuts.
 * Rows need ids that differ.
 *
 * @throws OptionError; RowError where the text is none; DataStepError for two rows with one id
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
      const records = new SortedRecords({ recordBytes: RECORD_BYTES, memoryBytes, folder: () => context.scratch() });
      const record = Buffer.alloc(RECORD_BYTES);
      const ids: string[] = [];
      for await (const row of rows) {
        record.writeUInt32BE(ids.length, 12);
        ids.push(context.keyOf(row).id);
        for (const start of rollingHashes(textOf(row, column, ids.length), length, record)) {
          record.writeUInt32BE(start, 16);
          await records.add(record);
        }
        if (ids.length % 1000 === 0) context.onProgress({ stage: `${name}: substrings`, done: ids.length });
      }
      assertDistinct(name, ids);
      const repeated = new Map<number, number[]>();
      const first = Buffer.alloc(RECORD_BYTES);
      // Equal hashes follow each other, in the order of rows and of places in them.
      let isFirst = true;
      for await (const it of records.sorted()) {
        if (isFirst || it.compare(first, 0, 12, 0, 12) !== 0) it.copy(first);
        else {
          const [row, start] = [it.readUInt32BE(12), it.readUInt32BE(16)];
          const overlaps = row === first.readUInt32BE(12) && start < first.readUInt32BE(16) + length;
          if (!overlaps) {
            const starts = repeated.get(row);
            if (starts) starts.push(start);
            else repeated.set(row, [start]);
          }
        }
        isFirst = false;
      }
      return { cuts: new Map([...repeated].map(([row, starts]) => [ids[row]!, union(starts, length)])) };
    },
    async *apply(rows, context, { cuts }) {
      let rowNumber = 0;
      for await (const row of rows) {
        const whole = textOf(row, column, ++rowNumber);
        const own = cuts.get(context.keyOf(row).id);
        if (own === undefined) {
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

/** The union of `[start, start + length)`. */
function union(starts: readonly number[], length: number): (readonly [number, number])[] {
  const spans: [number, number][] = [];
  for (const start of [...starts].sort((a, b) => a - b)) {
    const last = spans.at(-1);
    if (last && start <= last[1]) last[1] = start + length;
    else spans.push([start, start + length]);
  }
  return spans;
}
