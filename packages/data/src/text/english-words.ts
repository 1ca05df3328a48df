/**
 * Words of an English text as spaCy's rules for English find them, which datatrove counts: punctuation, quotes and currencies are words of
 * their own, hyphens and slashes between letters part words, `n't`, `'s` and the like leave what they hang on, abbreviations and initials
 * keep their full stop, and an emoticon is one word. White space is none.
 *
 * `goldens/data-filters` holds texts to spaCy word by word.
 */
export function englishWords(text: string): string[] {
  const words: string[] = [];
  for (const chunk of text.split(/\s+/u)) {
    if (chunk === '') continue;
    let known = cache.get(chunk);
    if (known === undefined) {
      known = wordsOf(chunk);
      if (cache.size >= CACHED) cache.clear();
      cache.set(chunk, known);
    }
    for (const word of known) words.push(word);
  }
  return words;
}

/**
 * Sentences of an English text, each with the white space before it: together they are the text up to its last word. One ends behind a word that is `.`, `!`, `?` or
 * one of their kin of other scripts, and what closes it.
 */
export function englishSentences(text: string): string[] {
  const sentences: string[] = [];
  let [start, end] = [0, 0];
  let ended = false;
  for (const word of englishWords(text)) {
    const ends = SENTENCE_END.has(word);
    if (ended && !ends && !PUNCTUATION_WORD.test(word)) {
      sentences.push(text.slice(start, end));
      start = end;
      ended = false;
    } else if (ends) ended = true;
    end = text.indexOf(word, end) + word.length;
  }
  if (end > 0) sentences.push(text.slice(start, end));
  return sentences;
}

/** Chunks between white space repeat (Zipf), so their words are kept; the table is emptied when it is full. */
const CACHED = 50_000;
const cache = new Map<string, readonly string[]>();

const SENTENCE_END = new Set(
  '! . ? ։ ؟ ۔ ܀ ܁ ܂ ߹ । ॥ ၊ ။ ። ፧ ፨ ᙮ ᜵ ᜶ ᠃ ᠉ ᥄ ᥅ ‼ ‽ ⁇ ⁈ ⁉ ⸮ ⸼ ꓿ ꘎ ꘏ ꛳ ꛷ ﹒ ﹖ ﹗ ！ ． ？ ｡ 。'.split(' '),
);
const PUNCTUATION_WORD = /^\p{P}+$/u;

const SYMBOLS = '[\\p{So}]';
const QUOTES = '[\'"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧]';
const MARKS = '(?:……|[,:;!?¿؟¡()[\\]{}<>_#*&。？！，、；：～·।،۔؛٪])';
const CURRENCY = '(?:US\\$|C\\$|A\\$|[$£€¥฿﷼₠-₿])';
const UNITS =
  '(?:km[²³]?|m[²³]?|dm[²³]?|cm[²³]?|mm[²³]?|ha|µm|nm|yd|in|ft|kg|g|mg|µg|t|lb|oz|m/s|km/h|kmh|mph|hPa|Pa|mbar|mb|MB|kb|KB|gb|GB|tb|TB|T|G|M|K|%)';
const DOTS = '(?:\\.\\.+|…)';
// Letters of scripts without case count as both.
const LOWER = '\\p{Ll}\\p{Lo}';
const UPPER = '\\p{Lu}\\p{Lo}';
const LETTER = '\\p{L}';

const PREFIX = new RegExp(`^(?:§|%|=|—|–|\\+(?![0-9])|${MARKS}|${DOTS}|${QUOTES}|${CURRENCY}|${SYMBOLS})`, 'u');
const SUFFIX = new RegExp(
  `(?:${MARKS}|${DOTS}|${QUOTES}|${SYMBOLS}|['’][sS]|—|–|(?<=[0-9])\\+|(?<=°[FfCcKk])\\.|(?<=[0-9])${CURRENCY}|(?<=[0-9])${UNITS}|` +
    `(?<=(?:[0-9${LOWER}%²+|-]|${MARKS}|…|${QUOTES}))\\.|(?<=[${UPPER}][${UPPER}])\\.)$`,
  'u',
);
const INFIX = new RegExp(
  `${DOTS}|${SYMBOLS}|(?<=[0-9])[+\\-*^](?=[0-9-])|(?<=(?:[${LOWER}]|${QUOTES}))\\.(?=(?:[${UPPER}]|${QUOTES}))|(?<=${LETTER}),(?=${LETTER})|` +
    `(?<=[${LETTER}0-9])(?:——|--|---|[-–—~])(?=${LETTER})|(?<=[${LETTER}0-9])[:<>=/](?=${LETTER})`,
  'gu',
);
const ADDRESS =
  /^(?:[\w+.-]{2,}:\/\/)?(?:\S+@)?(?:(?:[A-Za-z0-9\u00a1-\uffff][A-Za-z0-9\u00a1-\uffff_-]{0,62})?[A-Za-z0-9\u00a1-\uffff]\.)+[\p{Ll}\p{Lo}]{2,63}(?::\d{2,5})?(?:[/?#]\S*)?$/u;

/** No special word is longer. */
const LONGEST_SPECIAL = 20;

/** Words that keep what a rule would take off, or fall apart where no rule parts them. */
function special(chunk: string): readonly string[] | undefined {
  if (chunk.length > LONGEST_SPECIAL) return undefined;
  if (ABBREVIATIONS.has(chunk) || EMOTICONS.has(chunk) || /^[a-zäöü]\.$/u.test(chunk)) return [chunk];
  const time = /^(1[0-2]|[1-9])([ap]\.?m\.?)$/u.exec(chunk);
  if (time !== null && /^(?:[ap]m|[ap]\.m\.)$/u.test(time[2]!)) return [time[1]!, time[2]!];
  const apart = APART.get(chunk.toLowerCase());
  if (apart !== undefined && isWordCase(chunk)) return cut(chunk, apart);
  return contraction(chunk);
}

const isWordCase = (chunk: string) => chunk === chunk.toLowerCase() || chunk === title(chunk);
const title = (word: string) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase();

function cut(chunk: string, lengths: readonly number[]): string[] {
  let end = 0;
  return lengths.map((length) => {
    end += length;
    return chunk.slice(end - length, end);
  });
}

/** Words in two or three parts, with the length of each. */
const APART: ReadonlyMap<string, readonly number[]> = new Map([
  ['cannot', [3, 3]],
  ['gonna', [3, 2]],
  ['gotta', [3, 2]],
  ["let's", [3, 2]],
  ['let’s', [3, 2]],
  ["c'mon", [3, 2]],
  ['c’mon', [3, 2]],
  ["i'ma", [1, 2, 1]],
  ['i’ma', [1, 2, 1]],
  ['ima', [1, 1, 1]],
]);

const ABBREVIATIONS: ReadonlySet<string> = new Set(
  (
    "'d a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. " +
    'p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s. Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. Ala. Ariz. Ark. Calif. Colo. ' +
    'Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. ' +
    "Ore. Pa. S.C. Tenn. Va. Wash. Wis. C++ <space> '' ' o'clock o’clock O'clock O’clock ma'am ma’am Ma'am Ma’am and/or w/o y'all y’all"
  ).split(' '),
);

/** Of the emoticons that spaCy knows those in ASCII. */
const EMOTICONS: ReadonlySet<string> = new Set(
  (
    ':) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-(( :((( :-((( ): )-: =( ' +
    ">:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D " +
    ':-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O ' +
    'o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*)'
  ).split(' '),
);

/** Words that together are an emoticon or another word of several signs, joined: the longest first. */
function joined(words: readonly string[]): readonly string[] {
  const out: string[] = [];
  for (let i = 0; i < words.length; i++) {
    let most = i + 1;
    let text = words[i]!;
    for (let end = i + 1; end < words.length && text.length < 7; end++) {
      text += words[end]!;
      if (EMOTICONS.has(text) || text === "''") most = end + 1;
    }
    out.push(words.slice(i, most).join(''));
    i = most - 1;
  }
  return out;
}

const APOSTROPHE = "['’]?";
const PRONOUN = new RegExp(
  `^(i|you|he|she|it|we|they)(?:(${APOSTROPHE}(?:ll|d))(${APOSTROPHE}ve)?|(${APOSTROPHE}(?:ve|re|s|m)))$`,
  'u',
);
const OTHER = new RegExp(
  `^(who|what|when|where|why|how|there|that|this|these|those)(?:(${APOSTROPHE}(?:ll|d))(${APOSTROPHE}ve)?|(${APOSTROPHE}(?:ve|re|s)))$`,
  'u',
);
const NOT = new RegExp(
  `^(ca|could|do|does|did|had|may|might|must|need|ought|sha|should|wo|would|is|are|was|were|have|has|ai)(n${APOSTROPHE}t)(${APOSTROPHE}ve)?$`,
  'u',
);
const HAVE = new RegExp(`^(could|might|must|should|would)(${APOSTROPHE}ve)$`, 'u');
/** Words of their own, which without an apostrophe are no contraction. */
const PLAIN = new Set(['ill', 'its', 'hell', 'shell', 'shed', 'were', 'well', 'whore']);
/** Which pronouns have which short verbs. */
const ENDINGS: Readonly<Record<string, ReadonlySet<string>>> = {
  m: new Set(['i']),
  ve: new Set(['i', 'you', 'we', 'they', 'who', 'what', 'when', 'where', 'why', 'how', 'there', 'these', 'those']),
  re: new Set(['you', 'we', 'they', 'who', 'what', 'when', 'where', 'why', 'how', 'there', 'these', 'those']),
  s: new Set(['he', 'she', 'it', 'who', 'what', 'when', 'where', 'why', 'how', 'there', 'that', 'this']),
};

function contraction(chunk: string): readonly string[] | undefined {
  const lower = chunk.toLowerCase();
  if (!isWordCase(chunk) || PLAIN.has(lower)) return undefined;
  const pronoun = PRONOUN.exec(lower) ?? OTHER.exec(lower);
  const parts = (pronoun ?? NOT.exec(lower) ?? HAVE.exec(lower))?.slice(1);
  if (parts === undefined) return undefined;
  const found = parts.filter((part) => part !== undefined);
  const [word, ending] = [found[0]!, found[1]!.replace(/['’]/u, '')];
  const bare = found.slice(1).some((part) => !/['’]/u.test(part));
  // Half a contraction with an apostrophe and half without is none, and neither is a bare "whos".
  if (bare && found.slice(1).some((part) => /['’]/u.test(part))) return undefined;
  if (pronoun !== null && ENDINGS[ending]?.has(word) === false) return undefined;
  return cut(
    chunk,
    found.map((part) => part.length),
  );
}

function wordsOf(chunk: string): readonly string[] {
  const [front, back]: [string[], string[]] = [[], []];
  let rest = chunk;
  while (rest !== '' && special(rest) === undefined) {
    const prefix = PREFIX.exec(rest)?.[0] ?? '';
    if (prefix !== '' && special(rest.slice(prefix.length)) !== undefined) {
      front.push(prefix);
      rest = rest.slice(prefix.length);
      break;
    }
    const suffix = suffixOf(rest.slice(prefix.length));
    if (suffix !== '' && special(rest.slice(0, -suffix.length)) !== undefined) {
      back.unshift(suffix);
      rest = rest.slice(0, -suffix.length);
      break;
    }
    if (prefix === '' && suffix === '') break;
    if (prefix !== '') front.push(prefix);
    if (suffix !== '') back.unshift(suffix);
    rest = rest.slice(prefix.length, rest.length - suffix.length);
  }
  const middle = rest === '' ? [] : (special(rest) ?? (ADDRESS.test(rest) ? [rest] : atInfixes(rest)));
  return joined([...front, ...middle, ...back]);
}

/** What a rule takes off the end, which only a run of full stops makes long: looking from the start would be quadratic in a long run of signs. */
function suffixOf(chunk: string): string {
  const tail = chunk.slice(-LONGEST_SUFFIX);
  return SUFFIX.exec(tail.endsWith('....') ? chunk : tail)?.[0] ?? '';
}
const LONGEST_SUFFIX = 20;

function atInfixes(word: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (const match of word.matchAll(INFIX)) {
    if (match.index === start) continue;
    parts.push(word.slice(start, match.index), match[0]);
    start = match.index + match[0].length;
  }
  if (start < word.length) parts.push(word.slice(start));
  return parts;
}
