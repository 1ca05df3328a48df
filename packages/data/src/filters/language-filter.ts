import { custom, type Given, listOf, number, options, text } from '@posttrain/interfaces';
import { DataOptionError } from '../errors.js';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { columnOf, columnOption } from './text-filter.js';

/** A language by its ISO 639-1 code, and how sure somebody is of it, from 0 to 1. */
export interface DetectedLanguage {
  readonly language: string;
  readonly score: number;
}

const languageFilterOptions = options('languageFilter', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** ISO 639-1 codes of what is kept. Default: any. */
  languages: listOf(text({}), { optional: true }),
  /** Least score of what is kept. Default 0.65. */
  threshold: number({ default: 0.65, min: 0, max: 1 }),
  /** Who says it. Default: the package `eld`, of 60 languages, in which no text is no language. */
  detect: custom<(text: string) => DetectedLanguage | Promise<DetectedLanguage>>()(
    'a function of a text that gives { language, score }',
    (value) => typeof value === 'function',
    { optional: true },
  ),
});
/** Options of `languageFilter`. */
export type LanguageFilterOptions = Given<typeof languageFilterOptions>;

/** A row with its language. */
export type WithLanguage<R> = R & { readonly language: string; readonly language_score: number };

/**
 * Keeps texts of some languages and adds `language` and `language_score`, as datatrove's language filter does; the identifier is the package `eld` (n-grams) or
 * one of the user's, as fastText's model cannot be had without a download.
 *
 * @throws OptionError; RowError where the text is none
 */
export function languageFilter<R extends object = Row>(
  given: LanguageFilterOptions = {},
): DataStep<R, WithLanguage<R>> {
  const { text: column, languages, threshold, detect } = languageFilterOptions.read(given);
  return {
    name: 'language filter',
    version: JSON.stringify(languageFilterOptions.settings(given)),
    async *apply(rows, context) {
      const identify = detect ?? (await byEld());
      let rowNumber = 0;
      for await (const row of rows) {
        const { language, score } = await identify(columnOf(row, column, ++rowNumber));
        if (languages !== undefined && !languages.includes(language)) context.drop(row, 'another language');
        else if (score < threshold) context.drop(row, 'language not sure');
        else yield context.derive({ ...row, language, language_score: score }, row);
      }
    },
  };
}

async function byEld(): Promise<(text: string) => DetectedLanguage> {
  const { eld } = await import('eld/small').catch((error: unknown) => {
    throw Object.assign(
      new DataOptionError('languageFilter', 'without "detect" the package eld identifies languages: npm install eld.'),
      { cause: error },
    );
  });
  return (text) => {
    const found = eld.detect(text);
    return { language: found.language, score: found.getScores()[found.language] ?? 0 };
  };
}
