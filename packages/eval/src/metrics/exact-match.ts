import { custom, type Given, options, text } from '@posttrain/interfaces';
import {
  type AnswerOptions,
  answerShape,
  gradeAnswer,
  normalizeAnswer,
  referenceAnswers,
} from '@posttrain/interfaces/answers';
import { EvaluationError } from '../errors.js';
import { applyFilters, type Filter } from '../filters/filter.js';
import type { Grade, Grader } from '../task.js';

type Target = string | number;

const FILTERS = 'a list of filters, as [strip(), lowercase()]';
const isFilters = (value: unknown): boolean =>
  Array.isArray(value) &&
  // Functions have an `apply` too: filters that were not called.
  value.every(
    (filter) => typeof filter === 'object' && typeof (filter as Partial<Filter> | null)?.apply === 'function',
  );

const exactMatchOptions = options('exactMatch', {
  /** Name in logs and tables. Default `exact_match`. */
  name: text({ default: 'exact_match' }),
  /** The reference answer of a row, or several of which one has to match. Default: `row.answer`. */
  target: custom<(row: Readonly<Record<string, unknown>>) => string | readonly string[]>()(
    'a function of the row that gives the answer',
    (value) => typeof value === 'function',
    {
      optional: true,
      hint: (value) => (typeof value === 'string' ? `Write (row) => row.${value}.` : undefined),
    },
  ),
  /**
   * Find the answer in the completion; a completion in which they find none is wrong and counted as unparsed. Default: its
   * final answer (`extractFinalAnswer`), or with `normalize` the whole text.
   */
  filters: custom<readonly Filter[]>()(FILTERS, isFilters, { optional: true }),
  /** Applied to both the answer and the target before they are compared as texts. Default: `normalizeAnswer`. */
  normalize: custom<readonly Filter[]>()(FILTERS, isFilters, { optional: true }),
  ...answerShape,
});
export type ExactMatchOptions = Given<typeof exactMatchOptions>;

/**
 * 1 where the completion's answer is the target, else 0. By itself it has the notion of an answer that rewards and votes
 * have (`@posttrain/interfaces/answers`). With `normalize` it is `exact_match` of lm-evaluation-harness: `filters` are its
 * filter list, `normalize` its `ignore_case`, `ignore_punctuation` and `regexes_to_ignore`; `[]` compares letter by letter.
 *
 * @throws OptionError; EvaluationError `NO_TARGET` when a row has no reference answer.
 */
export function exactMatch(given: ExactMatchOptions = {}): Grader {
  const { name, target = answerColumn, filters, normalize, ...answers } = exactMatchOptions.read(given);
  const grade = gradeOf(name, { filters, normalize }, answers);
  return {
    name,
    verify: async (requests) =>
      requests.map(({ completion, row }) => {
        if (!row)
          throw new EvaluationError(
            'NO_TARGET',
            `${name}: a request has no row, so there is no target to compare with.`,
          );
        return grade(completion, [target(row)].flat());
      }),
  };
}

function gradeOf(
  name: string,
  { filters, normalize }: { readonly [K in 'filters' | 'normalize']: readonly Filter[] | undefined },
  answers: AnswerOptions,
): (completion: string, targets: readonly Target[]) => Grade {
  if (normalize) {
    return (completion, targets) => {
      const answer = applyFilters([...(filters ?? []), ...normalize], completion);
      const wanted = targets.map((text) => applyFilters(normalize, String(text)));
      return { score: answer !== null && wanted.includes(answer) ? 1 : 0, answer };
    };
  }
  return (completion, targets) => {
    const wanted = referenceAnswers(name, targets, answers);
    if (!filters) {
      const { correct, answer } = gradeAnswer(completion, wanted, answers);
      return { score: Number(correct), answer };
    }
    const found = applyFilters(filters, completion);
    const answer = found === null ? null : normalizeAnswer(found, answers);
    return { score: answer !== null && wanted.includes(answer) ? 1 : 0, answer };
  };
}

function answerColumn(row: Readonly<Record<string, unknown>>): readonly Target[] {
  const answers = [row.answer].flat();
  const isTarget = (value: unknown): value is Target =>
    typeof value === 'string' ? value.trim() !== '' : typeof value === 'number' && Number.isFinite(value);
  if (answers.length > 0 && answers.every(isTarget)) return answers;
  throw new EvaluationError(
    'NO_TARGET',
    `exactMatch: row.answer is ${JSON.stringify(row.answer)}; give "target" to say where the answer is.`,
  );
}
