import { custom, type Given, integer, options, text } from '@posttrain/interfaces';
import { DataOptionError } from '../errors.js';
import type { Row } from '../rows.js';
import { bucketShares, HashedNgrams } from '../selection/hashed-ngrams.js';
import { highest, type SelectionStep, selectionStep } from '../selection/selection-step.js';
import { textOf } from './asking.js';

const dsirOptions = options('dsir', {
  /** Texts of the kind that is wanted. */
  target: custom<readonly string[]>()(
    'a list of texts, at least one',
    (value) => Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string'),
    { settings: (target) => JSON.stringify(target) },
  ),
  /** How many rows are drawn. */
  count: integer({ min: 1 }),
  /** Column of the text. Default `'text'`. */
  column: text({ default: 'text' }),
  /** Words, and n-grams up to this. Default 2. */
  ngrams: integer({ default: 2, min: 1 }),
  /** Into which n-grams are hashed. Default 10,000. */
  buckets: integer({ default: 10_000, min: 2 }),
  /** Texts of fewer words are not drawn. Default 100. */
  minWords: integer({ default: 100, min: 0 }),
  /** Of the draw. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `dsir`. */
export type DsirOptions = Given<typeof dsirOptions>;

/** What is added to every share, as in the authors' code: a bucket without n-grams has a logarithm. */
const FLOOR = 1e-8;

/** log p_target − log p_raw of each bucket, from the buckets of the texts of either. */
export function logRatios(
  target: Iterable<readonly number[]>,
  raw: Iterable<readonly number[]>,
  buckets: number,
): Float64Array {
  const [wanted, there] = [bucketShares(target, buckets), bucketShares(raw, buckets)];
  return wanted.map((share, i) => Math.log(share + FLOOR) - Math.log(there[i]! + FLOOR));
}

/**
 * DSIR (arXiv 2302.03169): a text weighs Π p_target(g) / p_raw(g) over its hashed n-grams g, bags of words fitted to the target texts and to all rows, and `count` rows are drawn in proportion
 * to their weights without replacement, by adding Gumbel noise to the logarithms and taking the highest. Features, weights and the least length are those of the authors' package
 * `data-selection`; the random numbers are ours. A plan, which holds the buckets of every row.
 *
 * @throws OptionError; RowError for a row without the column; DataOptionError for a target without words
 */
export function dsir<R extends object = Row>(given: DsirOptions): SelectionStep<R> {
  const { target, count, column, ngrams, buckets, minWords, seed } = dsirOptions.read(given);
  return selectionStep('dsir', JSON.stringify(dsirOptions.settings(given)), 'was not drawn', async (rows, context) => {
    const hashed = new HashedNgrams(buckets, ngrams);
    const wanted = target.map((one) => hashed.of(one));
    if (wanted.every((one) => one.length === 0)) throw new DataOptionError('dsir', 'no text of the target has a word.');
    const all: { id: string; features: Uint32Array }[] = [];
    let rowNumber = 0;
    for await (const row of rows) {
      const features = Uint32Array.from(hashed.of(textOf(row, column, ++rowNumber)));
      all.push({ id: context.keyOf(row).id, features });
    }
    const raw = {
      *[Symbol.iterator]() {
        for (const { features } of all) yield features as unknown as readonly number[];
      },
    };
    const ratios = logRatios(wanted, raw, buckets);
    const scores = all.map(({ id, features }) => {
      // Of n words there are n·k − k(k − 1)/2 n-grams up to k.
      const words = Math.floor((features.length + (ngrams * (ngrams - 1)) / 2) / ngrams);
      if (words < minWords) return { id, score: null };
      const uniform = context.random(`${seed} ${id}`).float();
      return {
        id,
        score: features.reduce((sum, bucket) => sum + ratios[bucket]!, 0) - Math.log(-Math.log(uniform || 2 ** -60)),
      };
    });
    return highest(scores, { count, share: 1 });
  });
}
