import { CodePointSet } from './code-point-set.js';
import { CATEGORIES, PROPERTIES, RECENT_LOWERCASE, SCRIPTS } from './unicode-data.js';

const cache = new Map<string, CodePointSet>();

function cached(key: string, make: () => CodePointSet): CodePointSet {
  const known = cache.get(key);
  if (known) return known;
  const set = make();
  cache.set(key, set);
  return set;
}

type Category = keyof typeof CATEGORIES;

/** A general category by its short name, `Lu`, or the first letter of several, `L`; undefined for another name. */
export function category(name: string): CodePointSet | undefined {
  if (name === 'Cn') {
    return cached('Cn', () =>
      CodePointSet.of([])
        .union(...Object.keys(CATEGORIES).map((one) => category(one)!))
        .complement(),
    );
  }
  if (name === 'C') return cached('C', () => category('Cc')!.union(category('Cf')!, category('Co')!, category('Cn')!));
  if (name === 'LC') return cached('LC', () => category('Lu')!.union(category('Ll')!, category('Lt')!));
  if (Object.hasOwn(CATEGORIES, name)) return cached(name, () => CodePointSet.decode(CATEGORIES[name as Category]));
  const parts = Object.keys(CATEGORIES).filter((one) => name.length === 1 && one.startsWith(name));
  if (parts.length === 0) return undefined;
  return cached(name, () => category(parts[0]!)!.union(...parts.slice(1).map((one) => category(one)!)));
}

/** A script by its long name; undefined for one that there is no table of. */
export function script(name: string): CodePointSet | undefined {
  if (!Object.hasOwn(SCRIPTS, name)) return undefined;
  return cached(`script ${name}`, () => CodePointSet.decode(SCRIPTS[name as keyof typeof SCRIPTS]));
}

/** What components of the reference implementation hold for a number, a punctuation mark and so on. */
export function property(name: keyof typeof PROPERTIES): CodePointSet {
  return cached(`property ${name}`, () => CodePointSet.decode(PROPERTIES[name]));
}

/** White_Space of Unicode. ECMAScript's `\s` has U+FEFF and lacks U+0085. */
export const WHITE_SPACE = '\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

export function whiteSpace(): CodePointSet {
  return cached('white space', () =>
    CodePointSet.of([9, 13, 32, 32, 0x85, 0x85, 0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029]).union(
      CodePointSet.of([0x202f, 0x202f, 0x205f, 0x205f, 0x3000, 0x3000]),
    ),
  );
}

/** `\w` of Oniguruma in a class. */
export function onigurumaWord(): CodePointSet {
  return cached('word', () => property('alphabetic').union(category('M')!, category('Nd')!, category('Pc')!));
}

/** `\w` of Oniguruma outside a class, and what `\b` goes by: there six numbers of Latin-1 are letters too. */
export function onigurumaWordAlone(): CodePointSet {
  return cached('word alone', () => onigurumaWord().union(CodePointSet.ofText('²³¹¼½¾')));
}

/** `\w` of Rust's regex crate, which has the two joiners too. */
export function rustWord(): CodePointSet {
  return cached('rust word', () => onigurumaWord().union(CodePointSet.of([0x200c, 0x200d])));
}

/** A pattern for one character of the set. */
export function setPattern(set: CodePointSet, flags = 'gu'): RegExp {
  return new RegExp(set.toSource(), flags);
}

const recentLowercase = new Map<string, string>();
{
  const points = RECENT_LOWERCASE.split(' ').map((part) => String.fromCodePoint(Number.parseInt(part, 36)));
  for (let i = 0; i + 1 < points.length; i += 2) recentLowercase.set(points[i]!, points[i + 1]!);
}
const recentPattern = new RegExp(`[${[...recentLowercase.keys()].join('')}]`, 'gu');

/** Lowercase, character by character: a final sigma is a sigma. */
export function lowercase(text: string): string {
  const lower = text.includes('\u03a3')
    ? text
        .split('\u03a3')
        .map((part) => part.toLowerCase())
        .join('\u03c3')
    : text.toLowerCase();
  return /^[\0-\x7f]*$/.test(lower)
    ? lower
    : lower.replace(recentPattern, (character) => recentLowercase.get(character)!);
}

/** Lone surrogates become U+FFFD: text of the reference implementation has none. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}
