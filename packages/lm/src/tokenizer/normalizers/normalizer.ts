import { toByteLevel } from '../byte-level.js';
import { assertLength } from '../errors.js';
import { build, buildFrom, type Fields } from '../fields.js';
import { type Edit, prepend, replaceCharacters } from '../piece.js';
import { patternField } from '../regex/pattern.js';
import { type NormalForm, normalForm } from '../unicode/normal-forms.js';
import { property, setPattern, WHITE_SPACE } from '../unicode/unicode.js';
import { bertNormalizer } from './bert.js';
import { lowercased } from './lowercased.js';
import { precompiled } from './precompiled.js';

/** The normalizer of tokenizer.json. @throws TokenizerComponentError */
export function buildNormalizer(value: unknown): Edit | undefined {
  return value === null || value === undefined ? undefined : build(value, 'normalizer', KINDS);
}

const KINDS: Readonly<Record<string, (fields: Fields) => Edit>> = {
  Sequence: (fields) => sequence(fields.objects('normalizers').map((one) => buildFrom(one, KINDS))),
  NFC: () => form('NFC'),
  NFD: () => form('NFD'),
  NFKC: () => form('NFKC'),
  NFKD: () => form('NFKD'),
  Lowercase: () => lowercased,
  Strip: (fields) => strip(fields.boolean('strip_left'), fields.boolean('strip_right')),
  StripAccents: () => {
    const marks = setPattern(property('combining'));
    return (text, log) => replaceCharacters(text, log, marks, () => '');
  },
  Replace: replace,
  Prepend: (fields) => {
    const prefix = fields.insertion('prepend');
    return (text, log) => prepend(text, prefix, log);
  },
  Nmt: () => nmt,
  BertNormalizer: bertNormalizer,
  Precompiled: (fields) => precompiled(fields),
  ByteLevel: () => toByteLevel,
};

function sequence(steps: readonly Edit[]): Edit {
  return (text, log) => {
    const run = (step: Edit, current: string, own?: number[]): string => {
      const next = step(current, own);
      assertLength(next.length, 'normalizer');
      return next;
    };
    if (!log) return steps.reduce((current, step) => run(step, current), text);
    let current = text;
    let source = Array.from({ length: text.length }, (_, i) => i);
    for (const step of steps) {
      const own: number[] = [];
      current = run(step, current, own);
      source = own.map((i) => source[i] ?? 0);
    }
    for (const i of source) log.push(i);
    return current;
  };
}

/** What a normal form may compose or reorder: Hangul, or one character, with the marks after it. */
const CLUSTER = /(?:[\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff]+|.)[\p{M}\uff9e\uff9f]*/gsu;

function form(name: NormalForm): Edit {
  return (text, log) => {
    const whole = normalForm(text, name);
    if (!log) return whole;
    let joined = '';
    for (const match of text.matchAll(CLUSTER)) {
      const cluster = normalForm(match[0], name);
      joined += cluster;
      alignCluster(match[0], cluster, name, match.index, log);
    }
    if (joined !== whole) {
      log.length = 0;
      for (let k = 0; k < whole.length; k++) log.push(Math.min(k, text.length - 1));
    }
    return whole;
  };
}

const DECOMPOSED = { NFC: 'NFD', NFD: 'NFD', NFKC: 'NFKD', NFKD: 'NFKD' } as const;

/**
 * Adds to `log` what each code unit of `cluster`, a normal form of `text`, stands for. As in the reference implementation
 * characters are counted: each takes as many of the decomposed text, in order, as it decomposes into, and the first ones
 * that the characters of `text` decompose into, wherever they have been put, lead from one of these to the next.
 */
function alignCluster(text: string, cluster: string, name: NormalForm, at: number, log: number[]): void {
  const decomposed = DECOMPOSED[name];
  const starts: number[] = [];
  // By character, in order, whether it is the first that one of the text decomposes into.
  const firsts = new Map<string, boolean[]>();
  let position = at;
  for (const character of text) {
    starts.push(position);
    position += character.length;
    let isFirst = true;
    for (const part of normalForm(character, decomposed)) {
      const flags = firsts.get(part);
      if (flags) flags.push(isFirst);
      else firsts.set(part, [isFirst]);
      isFirst = false;
    }
  }
  let led = -1;
  const leads = Array.from(normalForm(text, decomposed), (part) => {
    if (firsts.get(part)?.shift()) led++;
    return Math.max(led, 0);
  });
  let taken = 0;
  for (const character of cluster) {
    const start = starts[leads[Math.min(taken, leads.length - 1)] ?? 0] ?? at;
    for (let k = 0; k < character.length; k++) log.push(start);
    taken += name === decomposed ? 1 : Array.from(normalForm(character, 'NFD')).length;
  }
}

function strip(left: boolean, right: boolean): Edit {
  const leading = new RegExp(`^[${WHITE_SPACE}]+`, 'u');
  return (text, log) => {
    const start = left ? (leading.exec(text)?.[0].length ?? 0) : 0;
    let end = text.length;
    if (right) while (end > start && isWhiteSpace(text[end - 1]!)) end--;
    if (log) for (let i = start; i < end; i++) log.push(i);
    return text.slice(start, end);
  };
}

const whiteSpacePattern = new RegExp(`^[${WHITE_SPACE}]$`, 'u');
const isWhiteSpace = (character: string): boolean => whiteSpacePattern.test(character);

function replace(fields: Fields): Edit {
  const matcher = patternField(fields, 'pattern');
  const content = fields.insertion('content');
  return (text, log) => {
    const matches = text === '' ? [] : matcher(text);
    assertLength(text.length + (matches.length / 2) * content.length, 'normalizer');
    let result = '';
    let from = 0;
    const keep = (to: number) => {
      result += text.slice(from, to);
      if (log) for (let i = from; i < to; i++) log.push(i);
      from = to;
    };
    for (let i = 0; i < matches.length; i += 2) {
      keep(matches[i]!);
      result += content;
      if (log) for (let k = 0; k < content.length; k++) log.push(Math.max(matches[i + 1]! - 1, 0));
      from = matches[i + 1]!;
    }
    keep(text.length);
    return result;
  };
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is meant
const NMT_REMOVED = /[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/gu;
const NMT_SPACES = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/gu;

const nmt: Edit = sequence([
  (text, log) => replaceCharacters(text, log, NMT_REMOVED, () => ''),
  (text, log) => replaceCharacters(text, log, NMT_SPACES, () => ' '),
]);
