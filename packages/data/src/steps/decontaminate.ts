import { boolean, custom, type Given, integer, options } from '@posttrain/interfaces';
import { simplifyText } from '../dedup/shingles.js';
import { columnOf, columnOption } from '../filters/text-filter.js';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { englishWords } from '../text/english-words.js';

/** A problem of an evaluation set: what is asked, and what the answer is. */
export interface EvaluationText {
  readonly task: string;
  readonly query?: string;
  readonly answer: string;
}

const decontaminateOptions = options('decontaminate', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** The problems that a model is to be tested on. */
  evaluations: custom<readonly EvaluationText[]>()(
    'a list of { task, query, answer }',
    (value) =>
      Array.isArray(value) &&
      value.every((entry) => typeof entry?.task === 'string' && typeof entry?.answer === 'string'),
    { settings: (entries) => JSON.stringify(entries) },
  ),
  /** Words of what is looked for. Default 12. */
  nGrams: integer({ default: 12, min: 1 }),
  /** Looks for what lies in the question alone too. Default `false`. */
  findQueryNgrams: boolean({ default: false }),
  /** Looks for what begins in the question and ends in the answer. Default `true`. */
  findOverlapNgrams: boolean({ default: true }),
});
/** Options of `decontaminate`. */
export type DecontaminateOptions = Given<typeof decontaminateOptions>;

/** What a row shares with a problem. */
export interface Contamination {
  readonly task: string;
  readonly ngram: string;
}

/** Which n-grams of words belong to which task, as datatrove indexes them. */
export function evaluationNgrams(given: DecontaminateOptions): ReadonlyMap<string, string> {
  const { evaluations, nGrams, findQueryNgrams, findOverlapNgrams } = decontaminateOptions.read(given);
  const found = new Map<string, string>();
  for (const { task, query, answer } of evaluations) {
    const label = englishWords(simplifyText(answer));
    const asked = query === undefined ? [] : englishWords(simplifyText(query));
    const grams = [...ngrams(label, nGrams), ...(findQueryNgrams ? ngrams(asked, nGrams) : [])];
    if (findOverlapNgrams) {
      for (let taken = 1; taken < nGrams; taken++) {
        if (asked.length >= nGrams - taken && label.length >= taken) {
          grams.push([...asked.slice(asked.length - (nGrams - taken)), ...label.slice(0, taken)].join(' '));
        }
      }
    }
    for (const gram of grams) found.set(gram, task);
  }
  return found;
}

/**
 * Decontamination by n-grams of words (GPT-3, arXiv 2005.14165 appendix C), with datatrove's options and defaults: a row is dropped that shares 12 words in a row with
 * the answer of a problem that a model is to be tested on, or with the end of its question and the beginning of its answer; texts are compared as
 * `simplifyText` has them. `contaminationOf` says of one text which, for a report.
 *
 * @throws OptionError; RowError where the text is none
 */
export function decontaminate<R extends object = Row>(
  given: DecontaminateOptions,
): DataStep<R> & { readonly passes: true } {
  const { text: column, nGrams } = decontaminateOptions.read(given);
  const index = evaluationNgrams(given);
  return {
    name: 'decontaminate',
    version: JSON.stringify(decontaminateOptions.settings(given)),
    passes: true,
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        const found = contaminationOf(columnOf(row, column, ++rowNumber), index, nGrams);
        if (found === undefined) yield row;
        else context.drop(row, `contaminated: ${found.task}`);
      }
    },
  };
}

/** The first n-gram of a text that is in an index of `evaluationNgrams`; `undefined` where there is none. */
export function contaminationOf(
  text: string,
  index: ReadonlyMap<string, string>,
  nGrams: number,
): Contamination | undefined {
  for (const ngram of ngrams(englishWords(simplifyText(text)), nGrams)) {
    const task = index.get(ngram);
    if (task !== undefined) return { task, ngram };
  }
  return undefined;
}

const ngrams = (words: readonly string[], n: number): string[] =>
  Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) => words.slice(i, i + n).join(' '));
