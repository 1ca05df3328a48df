import { assertKnownOptions } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { applyFilters, type Filter } from '../filters/filter.js';
import type { Grader } from '../task.js';

export interface ExactMatchOptions {
  /** Name in logs and tables. Default `exact_match`. */
  readonly name?: string;
  /** The reference answer of a row, or several of which one has to match. Default: `row.answer`. */
  readonly target?: (row: Readonly<Record<string, unknown>>) => string | readonly string[];
  /** Find the answer in the completion; a completion in which they find none is wrong and counted as unparsed. */
  readonly filters?: readonly Filter[];
  /** Applied to both the answer and the target before they are compared. */
  readonly normalize?: readonly Filter[];
}

/**
 * 1 where the filtered completion equals the target, else 0 (`exact_match` of lm-evaluation-harness: `filters` are its
 * filter list, `normalize` its `ignore_case`, `ignore_punctuation` and `regexes_to_ignore`).
 * @throws EvaluationError `NO_TARGET` when a row has no reference answer.
 */
export function exactMatch(options: ExactMatchOptions = {}): Grader {
  assertKnownOptions('exactMatch', options, ['name', 'target', 'filters', 'normalize']);
  const { name = 'exact_match', target = answerColumn, filters = [], normalize = [] } = options;
  return {
    name,
    verify: async (requests) =>
      requests.map(({ completion, row }) => {
        if (!row)
          throw new EvaluationError(
            'NO_TARGET',
            `${name}: a request has no row, so there is no target to compare with.`,
          );
        const targets = [target(row)].flat().map((text) => applyFilters(normalize, text));
        const answer = applyFilters([...filters, ...normalize], completion);
        return { score: answer !== null && targets.includes(answer) ? 1 : 0, answer };
      }),
  };
}

function answerColumn(row: Readonly<Record<string, unknown>>): string {
  const { answer } = row;
  if (typeof answer === 'string' || typeof answer === 'number') return String(answer);
  throw new EvaluationError(
    'NO_TARGET',
    `exactMatch: row.answer is ${JSON.stringify(answer)}; give "target" to say where the answer is.`,
  );
}
