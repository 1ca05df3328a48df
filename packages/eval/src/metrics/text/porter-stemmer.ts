/** What the rules get wrong, as NLTK lists it. */
const IRREGULAR: Readonly<Record<string, string>> = {
  sky: 'sky',
  skies: 'sky',
  dying: 'die',
  lying: 'lie',
  tying: 'tie',
  news: 'news',
  innings: 'inning',
  inning: 'inning',
  outings: 'outing',
  outing: 'outing',
  cannings: 'canning',
  canning: 'canning',
  howe: 'howe',
  proceed: 'proceed',
  exceed: 'exceed',
  succeed: 'succeed',
};

type Rule = readonly [suffix: string, replacement: string, condition?: (stem: string) => boolean];

const isConsonant = (word: string, at: number): boolean => {
  const letter = word[at]!;
  if ('aeiou'.includes(letter)) return false;
  return letter !== 'y' || at === 0 || !isConsonant(word, at - 1);
};

/** m of [C](VC)^m[V]. */
function measure(stem: string): number {
  let changes = 0;
  for (let i = 1; i < stem.length; i++) if (isConsonant(stem, i) && !isConsonant(stem, i - 1)) changes++;
  return changes;
}

const hasVowel = (stem: string): boolean => [...stem].some((_, i) => !isConsonant(stem, i));
const endsDouble = (word: string): boolean =>
  word.length >= 2 && word.at(-1) === word.at(-2) && isConsonant(word, word.length - 1);

/** Consonant, vowel, consonant other than w, x, y at the end; or a vowel and a consonant that are all. */
function endsShort(word: string): boolean {
  const n = word.length;
  if (n === 2) return !isConsonant(word, 0) && isConsonant(word, 1);
  return (
    n >= 3 &&
    isConsonant(word, n - 3) &&
    !isConsonant(word, n - 2) &&
    isConsonant(word, n - 1) &&
    !'wxy'.includes(word[n - 1]!)
  );
}

/** The first rule whose suffix is there decides, whether or not its condition holds. */
function apply(word: string, rules: readonly Rule[]): string {
  for (const [suffix, replacement, condition] of rules) {
    if (!word.endsWith(suffix)) continue;
    const stem = word.slice(0, word.length - suffix.length);
    return condition === undefined || condition(stem) ? stem + replacement : word;
  }
  return word;
}

const positive = (stem: string): boolean => measure(stem) > 0;
const long = (stem: string): boolean => measure(stem) > 1;
const rulesOf = (pairs: string, condition: (stem: string) => boolean): Rule[] =>
  pairs.split(' ').map((pair) => {
    const [suffix, replacement] = pair.split('>') as [string, string?];
    return [suffix, replacement ?? '', condition];
  });

const STEP_2: readonly Rule[] = [
  ...rulesOf(
    'ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous ization>ize ation>ate ator>ate ' +
      'alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive biliti>ble fulli>ful',
    positive,
  ),
  ['logi', 'log', (stem) => positive(`${stem}l`)],
];
const STEP_3 = rulesOf('icate>ic ative> alize>al iciti>ic ical>ic ful> ness>', positive);
const STEP_4: readonly Rule[] = [
  ...rulesOf('al> ance> ence> er> ic> able> ible> ant> ement> ment> ent>', long),
  ['ion', '', (stem) => long(stem) && /[st]$/.test(stem)],
  ...rulesOf('ou> ism> ate> iti> ous> ive> ize>', long),
];

/**
 * The stem of an English word in lower case by Porter's algorithm (1980) with the extensions of NLTK, which rouge-score and METEOR use: `flies` → `fli`,
 * `generalization` → `gener`.
 */
export function porterStem(given: string): string {
  const word = given.toLowerCase();
  if (Object.hasOwn(IRREGULAR, word)) return IRREGULAR[word]!;
  if (word.length <= 2) return word;
  return step5(apply(apply(step2(step1c(step1b(step1a(word)))), STEP_3), STEP_4));
}

function step1a(word: string): string {
  if (word.endsWith('ies') && word.length === 4) return `${word.slice(0, -3)}ie`;
  return apply(word, [
    ['sses', 'ss'],
    ['ies', 'i'],
    ['ss', 'ss'],
    ['s', ''],
  ]);
}

function step1b(word: string): string {
  if (word.endsWith('ied')) return word.slice(0, -3) + (word.length === 4 ? 'ie' : 'i');
  if (word.endsWith('eed')) return apply(word, [['eed', 'ee', positive]]);
  const suffix = ['ed', 'ing'].find((end) => word.endsWith(end) && hasVowel(word.slice(0, word.length - end.length)));
  if (suffix === undefined) return word;
  const stem = word.slice(0, word.length - suffix.length);
  if (/(?:at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (endsDouble(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem;
}

const step1c = (word: string): string =>
  apply(word, [['y', 'i', (stem) => stem.length > 1 && isConsonant(stem, stem.length - 1)]]);

function step2(word: string): string {
  if (word.endsWith('alli') && positive(word.slice(0, -4))) return step2(`${word.slice(0, -4)}al`);
  return apply(word, STEP_2);
}

function step5(word: string): string {
  const isSilent = (stem: string): boolean => long(stem) || (measure(stem) === 1 && !endsShort(stem));
  const silent = word.endsWith('e') && isSilent(word.slice(0, -1)) ? word.slice(0, -1) : word;
  return silent.endsWith('ll') && long(silent.slice(0, -1)) ? silent.slice(0, -1) : silent;
}
