import { assertKnownOptions } from '@posttrain/interfaces';
import { type AnswerOptions, gradeAnswer, normalizeAnswer, referenceAnswers } from '@posttrain/interfaces/answers';
import { EvaluationError } from '../errors.js';
import { applyFilters, type Filter } from '../filters/filter.js';
import type { Grade, Grader } from '../task.js';

type Target = string | number;

export interface ExactMatchOptions extends AnswerOptions {
  /** Name in logs and tables. Default `exact_match`. */
  readonly name?: string;
  /** The reference answer of a row, or several of which one has to match. Default: `row.answer`. */
  readonly target?: (row: Readonly<Record<string, unknown>>) => string | readonly string[];
  /**
   * Find the answer in the completion; a completion in which they find none is wrong and counted as unparsed. Default: its
   * final answer (`extractFinalAnswer`), or with `normalize` the whole text.
   */
  readonly filters?: readonly Filter[];
  /** Applied to both the answer and the target before they are compared as texts. Default: `normalizeAnswer`. */
  readonly normalize?: readonly Filter[];
}

/**
 * 1 where the completion's answer is the target, else 0. By itself it has the notion of an answer that rewards and votes
 * have (`@posttrain/interfaces/answers`). With `normalize` it is `exact_match` of lm-evaluation-harness: `filters` are its
 * filter list, `normalize` its `ignore_case`, `ignore_punctuation` and `regexes_to_ignore`; `[]` compares letter by letter.
 * @throws EvaluationError `NO_TARGET` when a row has no reference answer.
 */
export function exactMatch(options: ExactMatchOptions = {}): Grader {
  assertKnownOptions('exactMatch', options, ['name', 'target', 'filters', 'normalize', 'percent']);
  const { name = 'exact_match', target = answerColumn } = options;
  const grade = gradeOf(name, options);
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

function gradeOf(name: string, options: ExactMatchOptions): (completion: string, targets: readonly Target[]) => Grade {
  const { filters, normalize } = options;
  if (normalize) {
    return (completion, targets) => {
      const answer = applyFilters([...(filters ?? []), ...normalize], completion);
      const wanted = targets.map((text) => applyFilters(normalize, String(text)));
      return { score: answer !== null && wanted.includes(answer) ? 1 : 0, answer };
    };
  }
  return (completion, targets) => {
    const wanted = referenceAnswers(name, targets, options);
    if (!filters) {
      const { correct, answer } = gradeAnswer(completion, wanted, options);
      return { score: Number(correct), answer };
    }
    const found = applyFilters(filters, completion);
    const answer = found === null ? null : normalizeAnswer(found, options);
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
