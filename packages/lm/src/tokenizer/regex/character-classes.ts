import { CodePointSet } from '../unicode/code-point-set.js';
import { category, onigurumaWord, property, script, whiteSpace } from '../unicode/unicode.js';

const ascii = () => CodePointSet.of([0, 0x7f]);
const hex = () => CodePointSet.of([0x30, 0x39, 0x41, 0x46, 0x61, 0x66]);

/** `\d`, `\w`, `\s`, `\h` and their negations; undefined for another letter. */
export function escapedClass(letter: string): CodePointSet | undefined {
  const lower = letter.toLowerCase();
  const makers: Record<string, () => CodePointSet> = {
    d: () => category('Nd')!,
    w: onigurumaWord,
    s: whiteSpace,
    h: hex,
  };
  const set = Object.hasOwn(makers, lower) ? makers[lower]!() : undefined;
  return letter === lower ? set : set?.complement();
}

/** Properties whose members change with case: they mean something else in a pattern that ignores case. */
const CASED = ['Lu', 'Ll', 'Lt', 'upper', 'lower', 'uppercase', 'lowercase'];

export const isCased = (name: string): boolean => CASED.includes(name);

const LONG_CATEGORIES: Readonly<Record<string, string>> = {
  letter: 'L',
  uppercaseletter: 'Lu',
  lowercaseletter: 'Ll',
  titlecaseletter: 'Lt',
  casedletter: 'LC',
  modifierletter: 'Lm',
  otherletter: 'Lo',
  mark: 'M',
  nonspacingmark: 'Mn',
  spacingmark: 'Mc',
  enclosingmark: 'Me',
  number: 'N',
  decimalnumber: 'Nd',
  letternumber: 'Nl',
  othernumber: 'No',
  punctuation: 'P',
  connectorpunctuation: 'Pc',
  dashpunctuation: 'Pd',
  openpunctuation: 'Ps',
  closepunctuation: 'Pe',
  initialpunctuation: 'Pi',
  finalpunctuation: 'Pf',
  otherpunctuation: 'Po',
  symbol: 'S',
  mathsymbol: 'Sm',
  currencysymbol: 'Sc',
  modifiersymbol: 'Sk',
  othersymbol: 'So',
  separator: 'Z',
  spaceseparator: 'Zs',
  lineseparator: 'Zl',
  paragraphseparator: 'Zp',
  other: 'C',
  control: 'Cc',
  format: 'Cf',
  unassigned: 'Cn',
  privateuse: 'Co',
};

const SPECIAL: Readonly<Record<string, () => CodePointSet>> = {
  any: () => CodePointSet.all,
  ascii,
  alphabetic: () => property('alphabetic'),
  alpha: () => property('alphabetic'),
  whitespace: whiteSpace,
  space: whiteSpace,
  upper: () => property('uppercase'),
  uppercase: () => property('uppercase'),
  lower: () => property('lowercase'),
  lowercase: () => property('lowercase'),
  assigned: () => category('Cn')!.complement(),
};

/** What `\p{name}` stands for, under the name that `isCased` knows; undefined for a name that there is no table of. */
export function namedProperty(name: string): { readonly set: CodePointSet; readonly name: string } | undefined {
  const plain = name.replace(/[ _-]/g, '').toLowerCase();
  const short = LONG_CATEGORIES[plain] ?? (plain.length <= 2 ? plain[0]?.toUpperCase() + plain.slice(1) : undefined);
  if (plain === 'lc') return { set: category('LC')!, name: 'LC' };
  const general = short === undefined ? undefined : category(short);
  if (general) return { set: general, name: short! };
  if (Object.hasOwn(SPECIAL, plain)) return { set: SPECIAL[plain]!(), name: plain };
  const written = script(plain[0]?.toUpperCase() + plain.slice(1));
  return written && { set: written, name: plain };
}

/** POSIX brackets, `[:alpha:]`; undefined for another name. */
export function posixClass(name: string): CodePointSet | undefined {
  const makers: Record<string, () => CodePointSet> = {
    alpha: () => property('alphabetic'),
    alnum: () => property('alphabetic').union(category('Nd')!),
    upper: () => property('uppercase'),
    lower: () => property('lowercase'),
    digit: () => category('Nd')!,
    space: whiteSpace,
    punct: () => category('P')!.union(category('S')!),
    cntrl: () => category('Cc')!,
    blank: () => category('Zs')!.union(CodePointSet.of([9, 9])),
    xdigit: hex,
    word: onigurumaWord,
    ascii,
  };
  return Object.hasOwn(makers, name) ? makers[name]!() : undefined;
}

/** The set with the other case of its ASCII letters, and what else folds to them (ſ, K). */
export function ignoringCase(set: CodePointSet): CodePointSet {
  const more: number[] = [];
  const add = (point: number) => more.push(point, point);
  for (let lower = 0x61; lower <= 0x7a; lower++) {
    const folded = [lower, lower - 0x20];
    if (lower === 0x73) folded.push(0x17f);
    if (lower === 0x6b) folded.push(0x212a);
    if (folded.some((point) => set.has(point))) folded.forEach(add);
  }
  return more.length === 0 ? set : set.union(CodePointSet.of(more));
}
