import { type Given, integer, number, options } from '@posttrain/interfaces';
import { BloomFilter } from '../dedup/bloom-filter.js';
import { MarkBits, Places } from '../dedup/row-marks.js';
import { columnOf, columnOption } from '../filters/text-filter.js';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { byOption, normalizeOption, partsOf, withoutRepeated } from './exact-deduplicate.js';
import type { RepeatedParts } from './repeated-parts.js';

const bloomDeduplicateOptions = options('bloomDeduplicate', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** What is compared: whole texts, their paragraphs (apart by empty lines), or their lines. Default `document`. */
  by: byOption,
  /** What a text or a part of it is compared as; an empty one is compared with nothing. Default: without the white space around it. */
  normalize: normalizeOption,
  /** How many different texts or parts there will be: with more, the rate of false positives rises. */
  expected: integer({ min: 1 }),
  /** Share of texts that are taken for ones that were there before, when all are there. Default 0.001. */
  falsePositiveRate: number({ default: 0.001, above: 0, max: 0.5 }),
});
/** Options of `bloomDeduplicate`. */
export type BloomDeduplicateOptions = Given<typeof bloomDeduplicateOptions>;

/**
 * Deduplication by a Bloom filter, as Dolma (arXiv 2402.00159 §3.1.4) has it for paragraphs: `exactDeduplicate` in memory that does not grow with
 * the length of texts, 1.8 bytes to each text or part at a rate of 0.001 (beside one bit to each), at the price that at most that share of what is new is taken for a duplicate. No duplicate is kept.
 *
 * @throws OptionError; DataOptionError where the filter would be too large; RowError where the text is none
 */
export function bloomDeduplicate<R extends object = Row>(
  given: BloomDeduplicateOptions,
): DataStep<R, R, RepeatedParts> {
  const { text: column, by, normalize, expected, falsePositiveRate } = bloomDeduplicateOptions.read(given);
  return {
    name: 'bloom deduplicate',
    version: JSON.stringify(bloomDeduplicateOptions.settings(given)),
    async plan(rows, context) {
      const filter = new BloomFilter(expected, falsePositiveRate);
      const bits = new MarkBits();
      const places = new Places(context.shard);
      let done = 0;
      for await (const row of rows) {
        for (const part of partsOf(columnOf(row, column, ++done), by)) {
          const place = places.next(row, context);
          const compared = normalize(part);
          if (compared !== '' && filter.add(compared)) bits.set(place);
        }
        if (done % 1000 === 0) context.onProgress({ stage: 'bloom filter', done });
      }
      return places.marks(bits);
    },
    apply: (rows, context, plan) => withoutRepeated(rows, context, plan, column, by),
  };
}
