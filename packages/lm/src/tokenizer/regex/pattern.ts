import { type Fields, TokenizerComponentError } from '../fields.js';
import { isLinear } from './linear.js';
import { Machine } from './machine.js';
import { parsePattern } from './parse.js';
import { type Node, PatternError } from './syntax.js';
import { toJavaScript } from './to-javascript.js';

/** Finds every match of a pattern: starts and ends in turn, in UTF-16 code units. */
export type Matcher = (text: string) => number[];

/** A regular expression of Oniguruma. @throws PatternError */
export function compilePattern(pattern: string): Matcher {
  const node = parsePattern(pattern);
  return isLinear(node) ? javaScriptMatcher(node) : machineMatcher(node, pattern);
}

export function machineMatcher(node: Node, pattern: string): Matcher {
  const machine = new Machine(node, pattern);
  return (text) => machine.matches(text);
}

export function javaScriptMatcher(node: Node): Matcher {
  const regex = new RegExp(toJavaScript(node), 'gu');
  return (text) => {
    const matches: number[] = [];
    let lastEnd = -1;
    regex.lastIndex = 0;
    for (let match = regex.exec(text); match; match = regex.exec(text)) {
      const end = match.index + match[0].length;
      // An empty match right behind another does not count.
      if (end > match.index || end !== lastEnd) {
        matches.push(match.index, end);
        lastEnd = end;
      }
      if (end === match.index) regex.lastIndex = end + ((text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1);
    }
    return matches;
  };
}

/** Every place of a text; of an empty one, the places between characters. */
export function literalMatcher(literal: string): Matcher {
  if (literal === '') return compilePattern('');
  return (text) => {
    const matches: number[] = [];
    for (let at = text.indexOf(literal); at >= 0; at = text.indexOf(literal, at + literal.length)) {
      matches.push(at, at + literal.length);
    }
    return matches;
  };
}

/** `{ "String": … }` or `{ "Regex": … }`. */
export function patternField(fields: Fields, key: string): Matcher {
  const pattern = fields.object(key);
  const regex = pattern.optionalString('Regex');
  if (regex === undefined) return literalMatcher(pattern.string('String'));
  if (pattern.raw('String') !== undefined) fields.fail(key, 'has both a String and a Regex.');
  try {
    return compilePattern(regex);
  } catch (error) {
    if (error instanceof PatternError)
      throw new TokenizerComponentError(`${fields.where}.${key}`, `is not usable: ${error.message}`);
    throw error;
  }
}
