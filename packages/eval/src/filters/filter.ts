import { assertArgument, type Given, integer, options } from '@posttrain/interfaces';
import {
  type AnswerOptions,
  assertAnswerOptions,
  extractFinalAnswer,
  normalizeAnswer,
} from '@posttrain/interfaces/answers';
import type { Filter } from '@posttrain/interfaces/verifiers';

const regexOptions = options('regex', {
  /** Which match, counted from 0, or from the end when negative. Default 0, the first; -1 is the last. */
  match: integer({ default: 0 }),
});
/** Options of `regex`. */
export type RegexOptions = Given<typeof regexOptions>;

/**
 * The text a pattern matches, trimmed: of a pattern with groups the first group that is not empty (the `regex` filter of
 * lm-evaluation-harness, with `null` for its "[invalid]").
 */
export function regex(pattern: RegExp, given: RegexOptions = {}): Filter {
  assertPattern('regex', pattern);
  const { match } = regexOptions.read(given);
  const global = new RegExp(pattern.source, pattern.flags.includes('g') ? pattern.flags : `${pattern.flags}g`);
  return {
    name: `regex ${pattern} match ${match}`,
    apply: (text) => {
      const found = [...text.matchAll(global)].at(match);
      if (!found) return null;
      const groups = found.slice(1);
      return (groups.length > 0 ? (groups.find((group) => group) ?? '') : found[0]).trim();
    },
  };
}

/** Replaces every match of a pattern (lm-evaluation-harness: `regexes_to_ignore`). */
export function replace(pattern: RegExp, replacement = ''): Filter {
  assertPattern('replace', pattern);
  assertArgument('replace', 'replacement', replacement, typeof replacement === 'string', 'a text');
  const global = new RegExp(pattern.source, pattern.flags.includes('g') ? pattern.flags : `${pattern.flags}g`);
  return { name: `replace ${pattern}`, apply: (text) => text.replace(global, replacement) };
}

function assertPattern(where: string, pattern: unknown): void {
  const isPattern = Object.prototype.toString.call(pattern) === '[object RegExp]';
  const hint = typeof pattern === 'string' ? ', as /…/ or new RegExp(text)' : '';
  assertArgument(where, 'pattern', pattern, isPattern, `a regular expression${hint}`);
}

/** Drops white space at both ends. */
export function strip(): Filter {
  return { name: 'strip', apply: (text) => text.trim() };
}

/** Makes letters small (lm-evaluation-harness: `ignore_case`). */
export function lowercase(): Filter {
  return { name: 'lowercase', apply: (text) => text.toLowerCase() };
}

/** Drops the 32 ASCII punctuation characters (lm-evaluation-harness: `ignore_punctuation`). */
export function removePunctuation(): Filter {
  return { name: 'removePunctuation', apply: (text) => text.replace(/[!-/:-@[-`{-~]/g, '') };
}

/** Drops all white space. */
export function removeWhitespace(): Filter {
  return { name: 'removeWhitespace', apply: (text) => text.replace(/\s+/g, '') };
}

/** The final answer of a completion, as rewards and votes find it (`extractFinalAnswer`). */
export function finalAnswer(options: AnswerOptions = {}): Filter {
  assertAnswerOptions(options);
  return { name: 'finalAnswer', apply: (text) => extractFinalAnswer(text, options) };
}

/** One spelling for equal answers, as rewards and votes have it (`normalizeAnswer`): `$1,000.0` becomes `1000`. */
export function canonicalAnswer(options: AnswerOptions = {}): Filter {
  assertAnswerOptions(options);
  return { name: 'canonicalAnswer', apply: (text) => normalizeAnswer(text, options) };
}
