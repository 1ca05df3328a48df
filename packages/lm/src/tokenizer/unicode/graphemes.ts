/**
 * Extended grapheme clusters of at most five bytes of UTF-8, and pieces of the longer ones: all that `Precompiled`
 * depends on. Of UAX #29 that leaves CR LF, prepended marks, and what extends a character.
 */
const PREPEND =
  '\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u0d4e\\u{110bd}\\u{110cd}\\u{111c2}\\u{111c3}\\u{113d1}\\u{1193f}\\u{11941}\\u{11a3a}\\u{11a84}-\\u{11a89}\\u{11d46}\\u{11f02}';
const NOT_SPACING =
  '\\u102b\\u102c\\u1038\\u1062-\\u1064\\u1067-\\u106d\\u1083\\u1087-\\u108c\\u108f\\u109a-\\u109c\\u1a61\\u1a63\\u1a64\\uaa7b\\uaa7d\\u{11720}\\u{11721}';
const EXTEND = `(?:(?![${NOT_SPACING}])[\\p{Grapheme_Extend}\\p{Emoji_Modifier}\\p{Mc}\\u200d\\u0e33\\u0eb3])`;
const CONTROL = '(?:(?!\\p{Grapheme_Extend}|[\\u200d])[\\p{Zl}\\p{Zp}\\p{Cc}\\p{Cf}])';
const BASE = `(?:(?!${CONTROL}|[${PREPEND}])[^])`;
const PICTURE = `\\p{Extended_Pictographic}${EXTEND}*`;

const CLUSTER = new RegExp(
  `\\r\\n|[${PREPEND}]*(?:${PICTURE}(?:(?<=\\u200d)${PICTURE})*|${BASE}${EXTEND}*)|[${PREPEND}]+${EXTEND}*|[^]`,
  'gu',
);

export function graphemes(text: string): string[] {
  return text.match(CLUSTER) ?? [];
}
