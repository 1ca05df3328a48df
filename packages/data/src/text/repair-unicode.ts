type ByteOf = (character: string) => number | undefined;

/** The byte that a character was, in an encoding where bytes from 128 on are one character each. */
function byteReader(encoding: string): ByteOf {
  const decoder = new TextDecoder(encoding);
  const all = Array.from({ length: 128 }, (_, i) => decoder.decode(Uint8Array.of(128 + i)));
  return bytesOf(all.map((character, i) => [character, 128 + i]));
}

function bytesOf(entries: readonly (readonly [string, number])[]): ByteOf {
  const bytes = new Map(entries);
  return (character) => bytes.get(character) ?? (character < '\u0080' ? character.codePointAt(0) : undefined);
}

/** The bytes from 128 to 159 of Windows-1252, which some versions of Node's decoder take for Latin-1. */
const WINDOWS_1252 = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ';
const LATIN_1 = Array.from({ length: 128 }, (_, i) => [String.fromCharCode(128 + i), 128 + i] as const);

/** Encodings that UTF-8 is read as by mistake; Latin-1 together with Windows-1252, whose bytes it shares. */
const ENCODINGS = [
  {
    byteOf: bytesOf([...LATIN_1, ...[...WINDOWS_1252].map((character, i) => [character, 128 + i] as const)]),
    western: true,
  },
  { byteOf: byteReader('windows-1250'), western: false },
  { byteOf: byteReader('windows-1251'), western: false },
  { byteOf: byteReader('macintosh'), western: false },
];

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Scripts that people write on the web today: what decodes to a letter of another is not taken for a mistake. */
const KNOWN =
  /^[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Thai}\p{Script=Armenian}\p{Script=Georgian}\p{Script=Common}\p{Script=Inherited}]$/u;

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x80 && byte <= 0xbf;
const lengthAt = (lead: number): number =>
  lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 && lead <= 0xdf ? 2 : 0;

/**
 * Repairs mojibake: UTF-8 that was read as Windows-1252, Latin-1, Windows-1250, Windows-1251 or Mac Roman, once or several times over ("schÃ¶n", "â€™"). A sequence is put right where its characters are the
 * bytes of one of UTF-8 and hardly anything else: of three or four of them, of "Ã" or "Â" and a sign, of several in a row, or of one within a word; and where there are two of that kind in a text, everywhere in it. Other texts are left as
 * they are, also "É®" or "voilà »".
 */
export function repairMojibake(text: string): string {
  let repaired = text;
  for (let round = 0; round < 4; round++) {
    const next = once(repaired);
    if (next === repaired) return repaired;
    repaired = next;
  }
  return repaired;
}

function once(text: string): string {
  // What was read in the right one becomes the shortest.
  return ENCODINGS.reduce((best, { byteOf, western }) => {
    const repaired = onceAs(text, byteOf, western);
    return repaired.length < best.length ? repaired : best;
  }, text);
}

function onceAs(text: string, byteOf: ByteOf, western: boolean): string {
  const characters = [...text];
  const bytes = characters.map(byteOf);
  if (!bytes.some((byte, i) => byte !== undefined && lengthAt(byte) > 0 && isContinuation(bytes[i + 1]))) return text;
  const found: { readonly at: number; readonly text: string; readonly length: number; readonly sure: boolean }[] = [];
  for (let at = 0; at < characters.length; at++) {
    const sequence = sequenceAt(bytes, at);
    if (sequence === undefined || !isWritten(sequence.text)) continue;
    found.push({ at, ...sequence, sure: isMistake(characters, bytes, at, sequence.length, sequence.text, western) });
    at += sequence.length - 1;
  }
  // Where two are sure, the text was read in that encoding, and the others are mistakes too.
  const all = found.filter(({ sure }) => sure).length >= 2;
  const made: string[] = [];
  let done = 0;
  for (const { at, text: repaired, length, sure } of found) {
    if (!sure && !all) continue;
    made.push(...characters.slice(done, at), repaired);
    done = at + length;
  }
  return [...made, ...characters.slice(done)].join('');
}

/** Whether somebody writes that. */
const isWritten = (decoded: string): boolean => KNOWN.test(decoded) && !/\p{Lm}/u.test(decoded);

function sequenceAt(
  bytes: readonly (number | undefined)[],
  at: number,
): { readonly text: string; readonly length: number } | undefined {
  const lead = bytes[at];
  const length = lead === undefined ? 0 : lengthAt(lead);
  if (length === 0 || lead! > 0xf4) return undefined;
  const slice = bytes.slice(at, at + length);
  if (slice.length < length || !slice.slice(1).every(isContinuation)) return undefined;
  try {
    return { text: decoder.decode(Uint8Array.from(slice as number[])), length };
  } catch {
    return undefined;
  }
}

function isMistake(
  characters: readonly string[],
  bytes: readonly (number | undefined)[],
  at: number,
  length: number,
  decoded: string,
  western: boolean,
): boolean {
  // A letter, and what may end a quotation.
  if (characters.slice(at + 1, at + length).every((one) => '’”…»›'.includes(one))) return false;
  if (length > 2) return true;
  const lead = characters[at]!;
  if (western && (lead === 'Ã' || lead === 'Â')) return true;
  // More such sequences beside it: where the bytes of a script are letters too it takes two.
  const beside = (by: number): boolean => at + by >= 0 && sequenceAt(bytes, at + by) !== undefined;
  const [left, right] = [at >= 2 && sequenceAt(bytes, at - 2)?.length === 2, beside(2)];
  if (western ? left || right : (left && (right || beside(-4))) || (right && beside(4))) return true;
  const [before, sign, after] = [characters[at - 1] ?? '', characters[at + 1]!, characters[at + 2] ?? ''];
  const signInWord = !/\p{L}/u.test(sign) && /^\p{Ll}/u.test(after);
  const capitalInWord = /\p{Lu}/u.test(lead) && /^\p{Ll}/u.test(before);
  return (signInWord || capitalInWord) && /\p{L}/u.test(decoded);
}

/** What is not text: control characters but tab and line feed, ANSI escapes, byte order marks, and characters that nobody should use. */
const CONTROLS = /(?![\t\n])\p{Cc}|[\ufeff\u206a-\u206f\ufff9-\ufffc]/gu;
/** Of Escape only: behind another control character a bracket is text. */
const ANSI = new RegExp(`${String.fromCharCode(27)}\\[[\\d;?]*[a-zA-Z]`, 'g');
const LIGATURES: Readonly<Record<string, string>> = { ﬀ: 'ff', ﬁ: 'fi', ﬂ: 'fl', ﬃ: 'ffi', ﬄ: 'ffl', ﬅ: 'ſt', ﬆ: 'st' };

/**
 * A text as it was meant: mojibake (see `repairMojibake`), line ends (LF), ligatures, characters of half and full width, control characters, halves of surrogate pairs (the
 * replacement character), and Unicode's composed form (NFC). The steps, and their order, are those of ftfy's `fix_text` without its
 * curly quotes and HTML entities.
 */
export function repairUnicode(text: string): string {
  return repairMojibake(text)
    .replaceAll(/[ﬀ-ﬆ]/g, (ligature) => LIGATURES[ligature]!)
    .replaceAll(/[\uff01-\uffee\u3000]/g, (character) => character.normalize('NFKC'))
    .replaceAll(/\r\n|\r|\u2028|\u2029|\u0085/g, '\n')
    .replaceAll(/\p{Surrogate}/gu, '\ufffd')
    .replaceAll(ANSI, '')
    .replaceAll(CONTROLS, '')
    .normalize('NFC');
}
