import {
  type CodePoints,
  characters,
  choice,
  complementOf,
  type Expression,
  type Grammar,
  InvalidConstraintError,
  LARGEST_CODE_POINT,
  repeat,
  rule,
  sequence,
} from './expression.js';
import { PatternReader } from './pattern-reader.js';

const NAME = /[A-Za-z_][\w-]*/y;
const DEFINITION = /([A-Za-z_][\w-]*)\s*::=/y;
const CONTROLS: Readonly<Record<string, number>> = { n: 0x0a, r: 0x0d, t: 0x09 };

/**
 * A grammar in the notation of llama.cpp's GBNF: `name ::= "text" [a-z0-9] other-rule (…|…)* {2,5} .`, comments from `#`
 * to the end of the line. The rule `root` is the whole text. @throws InvalidConstraintError
 */
export function parseEbnf(ebnf: string): Grammar {
  const reader = new PatternReader(ebnf, 'grammar');
  const rules = new Map<string, Expression>();
  const used = new Set<string>();
  skipSpace(reader);
  while (!reader.isAtEnd) {
    const name = reader.takeMatch(DEFINITION)?.[1];
    if (!name) throw reader.error('expected a rule, NAME ::= …');
    if (rules.has(name)) throw reader.error(`the rule ${name} is there twice`);
    skipSpace(reader);
    rules.set(name, parseChoice(reader, used));
  }
  if (!rules.has('root')) throw new InvalidConstraintError('grammar: it has no rule root');
  for (const name of used) {
    if (!rules.has(name)) throw new InvalidConstraintError(`grammar: the rule ${name} is used but not defined`);
  }
  return { rules, root: 'root' };
}

const skipSpace = (reader: PatternReader) => reader.takeMatch(/(?:\s|#[^\n]*)*/y);

function parseChoice(reader: PatternReader, used: Set<string>): Expression {
  const options: Expression[] = [];
  do {
    skipSpace(reader);
    const items: Expression[] = [];
    while (!reader.isAtEnd && !'|)'.includes(reader.next) && !isDefinition(reader)) {
      const item = parseAtom(reader, used);
      const count = reader.quantifier();
      items.push(count ? repeat(item, count.min, count.max) : item);
      skipSpace(reader);
    }
    options.push(sequence(...items));
  } while (reader.takeIf('|'));
  return choice(...options);
}

function isDefinition(reader: PatternReader): boolean {
  const { at } = reader;
  const found = reader.takeMatch(DEFINITION) !== null;
  reader.at = at;
  return found;
}

function parseAtom(reader: PatternReader, used: Set<string>): Expression {
  if (reader.takeIf('(')) {
    const inner = parseChoice(reader, used);
    if (!reader.takeIf(')')) throw reader.error(`expected ) and not ${reader.next || 'the end'}`);
    return inner;
  }
  if (reader.takeIf('"')) {
    const items: Expression[] = [];
    while (!reader.takeIf('"')) {
      const codePoint = parseCharacter(reader);
      items.push(characters([[codePoint, codePoint]]));
    }
    return sequence(...items);
  }
  if (reader.takeIf('[')) return characters(parseClass(reader));
  if (reader.takeIf('.')) return characters([[0, LARGEST_CODE_POINT]]);
  const name = reader.takeMatch(NAME)?.[0];
  if (!name) throw reader.error(`${reader.next} is not supported here`);
  used.add(name);
  return rule(name);
}

function parseClass(reader: PatternReader): CodePoints {
  const isNegated = reader.takeIf('^');
  const ranges: [number, number][] = [];
  while (!reader.takeIf(']')) {
    const low = parseCharacter(reader);
    const high = reader.takeMatch(/-(?!\])/y) ? parseCharacter(reader) : low;
    if (high < low) throw reader.error('a range whose limits are in the wrong order');
    ranges.push([low, high]);
  }
  return isNegated ? complementOf(ranges) : ranges;
}

function parseCharacter(reader: PatternReader): number {
  if (!reader.takeIf('\\')) return reader.take().codePointAt(0)!;
  const character = reader.take();
  if (character === 'x') return reader.hexadecimal(2);
  if (character === 'u') return reader.hexadecimal(4);
  if (character === 'U') return reader.hexadecimal(8);
  const control = CONTROLS[character];
  if (control !== undefined) return control;
  if (/[A-Za-z0-9]/.test(character)) throw reader.error(`\\${character} is not supported`);
  return character.codePointAt(0)!;
}
