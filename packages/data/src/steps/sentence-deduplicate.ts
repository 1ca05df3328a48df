import { createHash } from 'node:crypto';
import { boolean, type Given, integer, options } from '@posttrain/interfaces';
import { splitLines, stripStart } from '@posttrain/interfaces/python';
import { simplifyText } from '../dedup/shingles.js';
import { columnOf, columnOption } from '../filters/text-filter.js';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { englishSentences, englishWords } from '../text/english-words.js';
import { type RepeatedParts, repeatedOf, repeatedParts, spillMemory } from './repeated-parts.js';

const sentenceDeduplicateOptions = options('sentenceDeduplicate', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** Sentences of a span that is compared. Default 3. */
  nSentences: integer({ default: 3, min: 1 }),
  /** Compares sentences; `false`: lines. Default `true`. */
  splitSentences: boolean({ default: true }),
  /** Fewest words of a text that something was cut out of. Default 50. */
  minDocWords: integer({ default: 50, min: 0 }),
  /** Fewest sentences of such a text. Default 3. */
  minNumSentences: integer({ default: 3, min: 0 }),
  ...spillMemory,
});
/** Options of `sentenceDeduplicate`. */
export type SentenceDeduplicateOptions = Given<typeof sentenceDeduplicateOptions>;

/**
 * C4's deduplication (arXiv 1910.10683 §2.2), with datatrove's options and defaults: of any span of three sentences that occurs more than once all but the
 * first are cut out, compared as `simplifyText` has them. A text that becomes too short by that is dropped.
 *
 * @throws OptionError; RowError where the text is none
 */
export function sentenceDeduplicate<R extends object = Row>(
  given: SentenceDeduplicateOptions = {},
): DataStep<R, R, RepeatedParts> {
  const {
    text: column,
    nSentences,
    splitSentences,
    minDocWords,
    minNumSentences,
    memoryBytes,
  } = sentenceDeduplicateOptions.read(given);
  const sentencesOf = splitSentences ? englishSentences : splitLines;
  return {
    name: 'sentence deduplicate',
    version: JSON.stringify(sentenceDeduplicateOptions.settings(given)),
    plan: (rows, context) =>
      repeatedParts(rows, context, memoryBytes, (row, rowNumber) => {
        const simple = sentencesOf(columnOf(row, column, rowNumber)).map(simplifyText);
        return Array.from({ length: Math.max(0, simple.length - nSentences + 1) }, (_, i) => {
          const span = simple.slice(i, i + nSentences).join(' ');
          return span.trim() === '' ? undefined : createHash('sha1').update(span).digest();
        });
      }),
    async *apply(rows, context, plan) {
      const repeated = repeatedOf(plan, context.shard);
      let rowNumber = 0;
      for await (const row of rows) {
        const text = columnOf(row, column, ++rowNumber);
        const sentences = sentencesOf(text);
        const starts = repeated(Math.max(0, sentences.length - nSentences + 1));
        if (starts.length === 0) {
          yield row;
          continue;
        }
        const cut = new Set(starts.flatMap((start) => Array.from({ length: nSentences }, (_, i) => start + i)));
        const left = stripStart(sentences.filter((_, i) => !cut.has(i)).join(splitSentences ? '' : '\n'));
        if (left === '') context.drop(row, 'every sentence was there before');
        else if (englishWords(left).length < minDocWords) context.drop(row, 'too few words are left');
        else if (englishSentences(left).length < minNumSentences) context.drop(row, 'too few sentences are left');
        else yield context.derive({ ...row, [column]: left }, row);
      }
    },
  };
}
