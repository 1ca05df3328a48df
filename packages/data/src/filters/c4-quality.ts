import { boolean, type Given, options } from '@posttrain/interfaces';
import { lengthOf, splitLines, splitWords, strip } from '@posttrain/interfaces/python';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { englishSentences } from '../text/english-words.js';
import { columnOption, type TextVerdict, textEditor, threshold } from './text-filter.js';

const c4QualityOptions = options('c4Quality', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** Takes `[1]`, `[edit]` and `[citation needed]` out. Default `true`. */
  removeCitations: boolean({ default: true }),
  /** Drops lines that do not end a sentence (`.` `?` `!` `"` `'`), or end with three dots. Default `true`. */
  filterNoTerminalPunct: boolean({ default: true }),
  /** Fewest sentences of the lines that stay. Default 5. */
  minNumSentences: threshold(5),
  /** Fewest words of a line. Default 3. */
  minWordsPerLine: threshold(3),
  /** Lines with a longer word are dropped. Default 1,000 characters. */
  maxWordLength: threshold(1000),
  /** Drops texts with "lorem ipsum". Default `true`. */
  filterLoremIpsum: boolean({ default: true }),
  /** Drops lines with "javascript". Default `true`. */
  filterJavascript: boolean({ default: true }),
  /** Drops texts with a curly bracket. Default `true`. */
  filterCurlyBracket: boolean({ default: true }),
  /** Drops lines about terms of use, privacy and cookies. Default `true`. */
  filterPolicy: boolean({ default: true }),
});
/** Options of `c4Quality`. */
export type C4QualityOptions = Given<typeof c4QualityOptions>;

/**
 * The rules of C4 (arXiv 1910.10683 §2.2), with datatrove's options, defaults, order and reasons: of each line whether it is a sentence, and what it speaks
 * of; of the whole whether it is a program, a placeholder, or has too few sentences (`englishSentences`). What stays of the lines is the
 * row's text. Bad words are a filter of their own (`badWords`).
 *
 * @throws OptionError; RowError where the text is none
 */
export function c4Quality<R extends object = Row>(given: C4QualityOptions = {}): DataStep<R> {
  const settings = c4QualityOptions.read(given);
  const version = JSON.stringify(c4QualityOptions.settings(given));
  return textEditor('c4 quality', version, settings.text, (text): TextVerdict => {
    const kept: string[] = [];
    let sentences = 0;
    for (const whole of splitLines(text)) {
      let line = strip(whole);
      const words = splitWords(line);
      if (settings.maxWordLength !== null && words.some((word) => lengthOf(word) > settings.maxWordLength!)) continue;
      if (settings.removeCitations) line = line.replace(/\[\d*\]|\[edit\]|\[citation needed\]/gu, '');
      if (settings.filterNoTerminalPunct && (!/[.?!"']$/u.test(line) || line.endsWith('...'))) continue;
      if (settings.minWordsPerLine !== null && words.length < settings.minWordsPerLine) continue;
      const lower = line.toLowerCase();
      if (settings.filterLoremIpsum && lower.includes('lorem ipsum')) return { drop: 'lorem_ipsum' };
      if (settings.filterJavascript && lower.includes('javascript')) continue;
      if (settings.filterCurlyBracket && line.includes('{')) return { drop: 'curly_bracket' };
      if (settings.filterPolicy && POLICY.some((phrase) => lower.includes(phrase))) continue;
      if (settings.minNumSentences !== null) sentences += englishSentences(line).length;
      kept.push(line);
    }
    if (settings.minNumSentences !== null && sentences < settings.minNumSentences) return { drop: 'too_few_sentences' };
    return { text: strip(kept.join('\n')) };
  });
}

const POLICY = ['terms of use', 'privacy policy', 'cookie policy', 'uses cookies', 'use of cookies', 'use cookies'];
