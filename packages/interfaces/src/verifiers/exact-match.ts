import { type AnswerOptions, gradeAnswer, normalizeAnswer, referenceAnswers } from '../answers/index.js';
import { assertKnownOptions, PosttrainError } from '../errors.js';
import { type DecisiveSettings, type HasSettings, settingsOf } from '../settings.js';
import type { Verdict, Verifier } from '../verify.js';
import { VerifierInputError } from './errors.js';
import { applyFilters, type Filter } from './filter.js';
import { columnOf } from './reference.js';
import { ruleVerifier } from './rule-verifier.js';

type Row = Readonly<Record<string, unknown>>;

/** Options of `exactMatch`. */
export interface ExactMatchOptions extends AnswerOptions {
  /** Name in logs and tables. Default `exact_match`. */
  readonly name?: string;
  /** Column with the reference: a text, a number, or a list of acceptable ones. Default `answer`. */
  readonly column?: string;
  /** The reference answer of a row, or several of which one has to match, where no column is one. */
  readonly target?: (row: Row) => string | readonly string[];
  /**
   * Find the answer in the completion; a completion in which they find none is wrong and counted as unparsed. Default: its
   * final answer (`extractFinalAnswer`), or with `normalize` the whole text.
   */
  readonly filters?: readonly (Filter | ((completion: string) => string | null))[];
  /** Applied to both the answer and the target before they are compared as texts. Default: `normalizeAnswer`. */
  readonly normalize?: readonly Filter[];
}

const OPTIONS = ['name', 'column', 'target', 'filters', 'normalize', 'percent'];
const ELSEWHERE = '; name another with "column", or give "target" to say where the answer is.';

/**
 * 1 where the completion's answer is the reference, else 0; the verdict says which answer was found. By itself it has the
 * notion of an answer that votes have (`extractFinalAnswer` and `normalizeAnswer`: `1/2` is `0.50`, `Paris` is `paris`),
 * and a reference that marks its answer (`… #### 18`) stands for that. With `normalize` it is `exact_match` of
 * lm-evaluation-harness: `filters` are its filter list, `normalize` its `ignore_case`, `ignore_punctuation` and
 * `regexes_to_ignore`; `[]` compares letter by letter.
 *
 * @throws VerifierInputError when a row has no reference answer
 */
export function exactMatch(options: ExactMatchOptions = {}): Verifier & HasSettings {
  assertKnownOptions('exactMatch', options, OPTIONS);
  const { name = 'exact_match', column = 'answer', target, filters, normalize, percent } = options;
  if (target !== undefined && options.column !== undefined) {
    throw new PosttrainError('INVALID_OPTION', 'exactMatch: give "column" or "target", not both.');
  }
  const grade = gradeOf(options);
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
    ...(settingsOf({ column, extract: filters, percent, ...Object.fromEntries(more) }) as DecisiveSettings),
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

function gradeOf(options: ExactMatchOptions): (completion: string, targets: unknown) => Verdict {
  const { filters, normalize } = options;
  if (normalize) {
    return (completion, targets) => {
      const answer = applyFilters([...(filters ?? []), ...normalize], completion);
      const wanted = [targets].flat().map((text) => applyFilters(normalize, String(text)));
      return { score: answer !== null && wanted.includes(answer) ? 1 : 0, answer };
    };
  }
  return (completion, targets) => {
    const wanted = referenceAnswers('exactMatch', targets, options);
    if (!filters) {
      const { correct, answer } = gradeAnswer(completion, wanted, options);
      return { score: Number(correct), answer };
    }
    const found = applyFilters(filters, completion);
    const answer = found === null ? null : normalizeAnswer(found, options);
    return { score: answer !== null && wanted.includes(answer) ? 1 : 0, answer };
  };
}
