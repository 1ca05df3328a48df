import { custom, listOf, text } from '../options/option.js';
import { OptionError } from '../options/option-error.js';
import { type Given, options } from '../options/options.js';
import type { HasSettings } from '../settings.js';
import type { Verifier } from '../verify.js';
import { applyFilters, type Filter } from './filter.js';
import { ruleVerifier } from './rule-verifier.js';

const isFilters = (value: unknown): boolean =>
  Array.isArray(value) && value.every((filter) => typeof (filter as Partial<Filter> | null)?.apply === 'function');

const languageConsistencyOptions = options('languageConsistency', {
  /** Unicode scripts that the target language is written in: `['Latin']`, for Japanese `['Han', 'Hiragana', 'Katakana']`. */
  scripts: listOf(text({}), {}),
  /** What of the completion is looked at, such as its thoughts. Default: all of it. */
  filters: custom<readonly Filter[]>()('a list of filters', isFilters, {
    default: [],
    settings: (filters) => filters.map(({ name, apply }) => `${name} ${apply}`).join(', '),
  }),
});
/** Options of `languageConsistency`. */
export type LanguageConsistencyOptions = Given<typeof languageConsistencyOptions>;

/**
 * The language consistency reward of DeepSeek-R1 (arXiv 2501.12948 §2.3.2): the share of a completion's words that are of the target language; less it
 * is the rate at which languages are mixed. A word is a run of letters (where a script has no spaces, as `Intl.Segmenter` cuts it), and is of the
 * language where each of its letters is of one of the `scripts`, so that a word with a foreign letter inside counts as foreign. The script is what
 * can be seen without a model: it does not tell English from French. Digits, signs and formulas are no words; a completion without words has 0, as
 * saying nothing is not saying it in the language.
 *
 * @throws OptionError for a name that is no script of Unicode
 */
export function languageConsistency(given: LanguageConsistencyOptions): Verifier & HasSettings {
  const { scripts, filters } = languageConsistencyOptions.read(given);
  // Extensions: with what is written in several scripts, as the long-vowel sign of Japanese.
  const ofScripts = scripts.map((script) => `\\p{Script_Extensions=${script}}`);
  const unknown = scripts.find((_, i) => !isPattern(ofScripts[i]!));
  if (unknown !== undefined || scripts.length === 0) {
    const problem = scripts.length === 0 ? 'scripts is empty' : `${JSON.stringify(unknown)} is no script of Unicode`;
    const names = 'names are as Latin, Cyrillic, Han, Arabic.';
    throw new OptionError('INVALID_OPTION', 'languageConsistency', 'scripts', `${problem}; ${names}`);
  }
  const isOfLanguage = new RegExp(`^[${ofScripts.join('')}\\p{M}]+$`, 'u');
  const segmenter = new Intl.Segmenter('und', { granularity: 'word' });
  return ruleVerifier('languageConsistency', languageConsistencyOptions.settings(given), ({ completion }) => {
    const seen = applyFilters(filters, completion);
    const words = [...segmenter.segment((seen ?? '').normalize('NFKC'))].flatMap(
      ({ segment }) => segment.match(/[\p{L}\p{M}]+/gu) ?? [],
    );
    const own = words.filter((word) => isOfLanguage.test(word)).length;
    return words.length === 0 ? 0 : own / words.length;
  });
}

function isPattern(source: string): boolean {
  try {
    return new RegExp(source, 'u') instanceof RegExp;
  } catch {
    return false;
  }
}
