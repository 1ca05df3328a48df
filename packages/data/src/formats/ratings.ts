import { type Given, number, oneOf, options, type Prompt } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { isPlainObject, kindOf, type Row, requireRow } from '../rows.js';
import type { DataStep } from '../step.js';
import { assertText } from './messages.js';

/** Several answers to a prompt, each with a number: the greater the better. */
export interface RatedRow {
  readonly prompt: Prompt;
  readonly completions: readonly Prompt[];
  readonly ratings: readonly number[];
}

function assertRated(row: Row, column: 'ratings' | 'ranks', rowNumber: number | undefined): void {
  requireRow(row, rowNumber);
  const { prompt, completions, [column]: numbers } = row;
  if (!Array.isArray(prompt)) assertText(prompt, 'prompt', rowNumber);
  if (!Array.isArray(completions) || completions.length < 2) {
    throw new RowError(rowNumber, 'completions', `must be a list of at least two answers, got ${kindOf(completions)}.`);
  }
  if (!Array.isArray(numbers) || numbers.length !== completions.length || !numbers.every(Number.isFinite)) {
    throw new RowError(rowNumber, column, `must be a list of ${completions.length} numbers, one for each completion.`);
  }
}

/** Throws a `RowError` unless the row has a prompt, at least two completions and a number for each. */
export function validateRatings(row: object, rowNumber?: number): asserts row is RatedRow {
  assertRated(row as Row, 'ratings', rowNumber);
}

/** A row `{ prompt, completions, ranks }`, rank 1 the best and equal ranks a tie, with `ratings` (minus the rank) beside. */
export function fromRanking(row: Row, rowNumber?: number): Row {
  assertRated(row, 'ranks', rowNumber);
  return { ...row, ratings: (row.ranks as number[]).map((rank) => -rank) };
}

/** A score as a number, which may be written as a text. */
const numberOf = (score: unknown): number =>
  typeof score === 'number' || (typeof score === 'string' && score.trim() !== '') ? Number(score) : Number.NaN;

/**
 * A row of UltraFeedback (arXiv 2310.01377), `{ instruction, completions: [{ response, overall_score }] }`, as `{ prompt, completions, ratings }` with the answering
 * `models`. Where an answer has no `overall_score`, its rating is `fine-grained_score`. Other columns stay.
 */
export function fromUltraFeedback(row: Row, rowNumber?: number): Row {
  requireRow(row, rowNumber);
  const { instruction, completions, models: given, ...rest } = row;
  assertText(instruction, 'instruction', rowNumber);
  if (!Array.isArray(completions))
    throw new RowError(rowNumber, 'completions', `must be a list, got ${kindOf(completions)}.`);
  const answers = completions.map((one: unknown, i) => {
    if (!isPlainObject(one))
      throw new RowError(rowNumber, `completions[${i}]`, `must be an object, got ${kindOf(one)}.`);
    assertText(one.response, `completions[${i}].response`, rowNumber);
    return {
      text: one.response,
      rating: numberOf(one.overall_score ?? one['fine-grained_score']),
      model: one.model,
    };
  });
  const models = answers.every(({ model }) => typeof model === 'string') ? answers.map(({ model }) => model) : given;
  const made = {
    ...rest,
    prompt: instruction,
    completions: answers.map(({ text }) => text),
    ratings: answers.map(({ rating }) => rating),
    ...(models !== undefined && { models }),
  };
  validateRatings(made, rowNumber);
  return made;
}

const ratedPairsOptions = options('ratedPairs', {
  /** `best-worst`: one pair a row. `all`: each pair of answers whose ratings differ. Default `best-worst`. */
  pairs: oneOf(['best-worst', 'all'], { default: 'best-worst' }),
  /** Least difference of the two ratings. Default: any. */
  minMargin: number({ default: 0, min: 0 }),
});
/** Options of `ratedPairs`. */
export type RatedPairsOptions = Given<typeof ratedPairsOptions>;

/** A preference, by how much, and of which answers. */
export interface RatedPair {
  readonly prompt: Prompt;
  readonly chosen: Prompt;
  readonly rejected: Prompt;
  /** Difference of the ratings. */
  readonly margin: number;
  /** Provenance: places of the two among the answers of the row. */
  readonly answers: readonly [chosen: number, rejected: number];
}

/**
 * A step from rows with ratings to preference rows. A tie is no preference: of equal ratings, or less than `minMargin` apart, and of equal answers no pair is made, and a row
 * without one is dropped. Of equally good answers the first stands for all. Other columns of the row stay, but for `completions` and `ratings`.
 *
 * @throws OptionError; RowError for a row without ratings
 */
export function ratedPairs(given: RatedPairsOptions = {}): DataStep<RatedRow, RatedPair> {
  const { pairs, minMargin } = ratedPairsOptions.read(given);
  return {
    name: 'rated pairs',
    version: JSON.stringify(ratedPairsOptions.settings(given)),
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        validateRatings(row, ++rowNumber);
        const { completions, ratings, ...rest } = row;
        const order = [...ratings.keys()].sort((a, b) => ratings[b]! - ratings[a]! || a - b);
        const worst = Math.min(...ratings);
        const candidates =
          pairs === 'all'
            ? order.flatMap((better, i) => order.slice(i + 1).map((worse) => [better, worse] as const))
            : [[order[0]!, ratings.indexOf(worst)] as const];
        let made = 0;
        for (const [better, worse] of candidates) {
          const margin = ratings[better]! - ratings[worse]!;
          if (margin <= 0 || margin < minMargin) continue;
          const [chosen, rejected] = [completions[better]!, completions[worse]!];
          if (JSON.stringify(chosen) === JSON.stringify(rejected)) continue;
          made++;
          const pair = { ...rest, chosen, rejected, margin, answers: [better, worse] as const };
          yield context.derive(pair, row, pairs === 'all' ? `${better}-${worse}` : undefined);
        }
        if (made === 0) context.drop(row, 'no answer is better than another');
      }
    },
  };
}
