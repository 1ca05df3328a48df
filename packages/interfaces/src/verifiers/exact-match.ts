import {
  type AnswerOptions,
  answerSettings,
  equalAnswer,
  gradeAnswer,
  normalizeAnswer,
  referenceAnswers,
} from '../answers/index.js';
import { custom, text } from '../options/option.js';
import { OptionError } from '../options/option-error.js';
import { type Given, options } from '../options/options.js';
import { type DecisiveSettings, type HasSettings, settingsOf } from '../settings.js';
import type { Verdict, Verifier } from '../verify.js';
import { VerifierInputError } from './errors.js';
import { applyFilters, type Filter } from './filter.js';
import { columnOf } from './reference.js';
import { referenceShape } from './reference-shape.js';
import { ruleVerifier } from './rule-verifier.js';

type Row = Readonly<Record<string, unknown>>;
type FilterLike = Filter | ((completion: string) => string | null);

const FILTERS = 'a list of filters, as [strip(), lowercase()]';
const isFilter = (filter: unknown): boolean =>
  // Functions have an `apply` too: filters that were not called.
  typeof filter === 'object' && typeof (filter as Partial<Filter> | null)?.apply === 'function';
const isFilters = (value: unknown): boolean => Array.isArray(value) && value.every(isFilter);

const exactMatchOptions = options(
  'exactMatch',
  {
    /** Name in logs and tables. Default `exact_match`. */
    name: text({ default: 'exact_match' }),
    ...referenceShape,
    /** The reference answer of a row, or several of which one has to match, where no column is one. */
    target: custom<(row: Row) => string | readonly string[]>()(
      'a function of the row that gives the answer',
      (value) => typeof value === 'function',
      {
        optional: true,
        hint: (value) => (typeof value === 'string' ? `Write (row) => row.${value}.` : undefined),
      },
    ),
    /**
     * Find the answer in the completion, filters or functions of a text; a completion in which they find none is wrong and
     * counted as unparsed. Default: its final answer (`extractFinalAnswer`), or with `normalize` the whole text.
     */
    filters: custom<readonly FilterLike[]>()(
      FILTERS,
      (value) => Array.isArray(value) && value.every((filter) => isFilter(filter) || typeof filter === 'function'),
      { optional: true },
    ),
    /** Applied to both the answer and the target before they are compared as texts. Default: answers are compared as `answersEqual` does. */
    normalize: custom<readonly Filter[]>()(FILTERS, isFilters, { optional: true }),
  },
  { bare: 'column' },
);
/** Options of `exactMatch`. */
export type ExactMatchOptions = Given<typeof exactMatchOptions>;

const ELSEWHERE = '; name another with "column", or give "target" to say where the answer is.';

/**
 * 1 where the completion's answer is the reference, else 0; the verdict says which answer was found. By itself it has the
 * notion of an answer that votes have (`extractFinalAnswer` and `answersEqual`: `1/2` is `0.50`, `Paris` is `paris`),
 * and a reference that marks its answer (`… #### 18`) stands for that. With `normalize` it is `exact_match` of
 * lm-evaluation-harness: `filters` are its filter list, `normalize` its `ignore_case`, `ignore_punctuation` and
 * `regexes_to_ignore`; `[]` compares letter by letter.
 *
 * @throws OptionError; VerifierInputError when a row has no reference answer
 */
export function exactMatch(given: ExactMatchOptions = {}): Verifier & HasSettings {
  const { name, column, target, filters, normalize, ...answers } = exactMatchOptions.read(given);
  if (target !== undefined && given.column !== undefined) {
    throw new OptionError('INVALID_OPTION', 'exactMatch', 'target', 'give "column" or "target", not both.');
  }
  const grade = gradeOf({ filters, normalize }, answers);
  const targets = (row: Row | undefined): unknown => {
    const value = columnOf('exactMatch', column, row, ELSEWHERE);
    if ([value].flat().length > 0 && [value].flat().every(isReference)) return value;
    const shown = JSON.stringify(value, (_, it) => (typeof it === 'number' && Number.isNaN(it) ? 'NaN' : it));
    throw new VerifierInputError(
      `exactMatch: the reference answer is ${shown}; it must be a text that is not empty, a finite number, or a list of these${ELSEWHERE}`,
    );
  };
  const more = Object.entries({ target, normalize }).filter(([, value]) => value !== undefined);
  const settings = {
    name: 'exactMatch',
    ...(settingsOf({
      column,
      extract: filters,
      ...answerSettings(answers),
      ...Object.fromEntries(more),
    }) as DecisiveSettings),
  };
  return ruleVerifier(name, settings, ({ completion, row }) => {
    if (!target || row === undefined) return grade(completion, targets(row));
    return grade(completion, target(row));
  });
}

const isReference = (value: unknown): boolean =>
  typeof value === 'string'
    ? value.trim() !== ''
    : typeof value === 'bigint' || typeof value === 'boolean' || Number.isFinite(value);

function gradeOf(
  {
    filters,
    normalize,
  }: { readonly filters?: readonly FilterLike[] | undefined; readonly normalize?: readonly Filter[] | undefined },
  answers: AnswerOptions,
): (completion: string, targets: unknown) => Verdict {
  if (normalize) {
    return (completion, targets) => {
      const answer = applyFilters([...(filters ?? []), ...normalize], completion);
      const wanted = [targets].flat().map((text) => applyFilters(normalize, String(text)));
      return { score: answer !== null && wanted.includes(answer) ? 1 : 0, answer };
    };
  }
  return (completion, targets) => {
    const wanted = referenceAnswers('exactMatch', targets, answers);
    if (!filters) {
      const { correct, answer } = gradeAnswer(completion, wanted, answers);
      return { score: Number(correct), answer };
    }
    const found = applyFilters(filters, completion);
    const answer = found === null ? null : normalizeAnswer(found, answers);
    const isRight = answer !== null && equalAnswer(wanted, answer, answers) !== undefined;
    return { score: Number(isRight), answer };
  };
}
