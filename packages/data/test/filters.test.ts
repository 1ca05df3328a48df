import { readFileSync } from 'node:fs';
import { createRandom } from '@posttrain/interfaces/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BloomFilter,
  badWords,
  bloomDeduplicate,
  c4Paragraphs,
  c4Quality,
  calibratedJoint,
  confidentJoint,
  confidentThresholds,
  contaminationOf,
  type DataStep,
  decontaminate,
  englishSentences,
  englishWords,
  evaluationNgrams,
  exactDeduplicate,
  findLabelErrors,
  finewebQuality,
  fitScoreHead,
  gopherQuality,
  gopherRepetition,
  languageFilter,
  pipeline,
  type Row,
  readability,
  readabilityFilter,
  readabilityOf,
  repairMojibake,
  repairText,
  repairUnicode,
  type SemanticMatch,
  scoreFilter,
  scoreOf,
  scrubPii,
  semanticDecontaminate,
  sentenceDeduplicate,
  syllablesOf,
  urlFilter,
} from '../src/index.js';
import { testDataStep } from '../src/testing/index.js';
import { errorOf } from './temporary-folder.js';

const golden = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/data-filters/${name}.json`, import.meta.url), 'utf8')) as T;

type Verdict = boolean | string | { readonly text: string };
interface Filters {
  readonly filters: ({ readonly text: string } & Readonly<Record<string, Verdict>>)[];
  readonly words: { readonly text: string; readonly words: string[]; readonly sentences: string[] }[];
  readonly pii: { readonly text: string; readonly scrubbed: string; readonly all: string }[];
  readonly urls: { readonly url: string; readonly verdict: true | string }[];
}
const { filters, words, pii, urls } = golden<Filters>('filters');

/** What a step makes of one row: true, the reason why it dropped it, or its text. */
async function verdictOf(step: DataStep<Row>, row: Row, column = 'text'): Promise<Verdict> {
  const run = pipeline<Row>([row], [step]);
  const kept = await run.collect();
  if (kept.length === 0) return Object.keys(run.report().at(-1)!.reasons)[0]!;
  return kept[0]![column] === row[column] ? true : { text: String(kept[0]![column]) };
}

describe("English words are spaCy's", () => {
  it.each(words)('$text', ({ text, words, sentences }) => {
    expect(englishWords(text)).toEqual(words);
    expect(englishSentences(text).map((sentence) => sentence.trim())).toEqual(sentences);
  });

  it('hold all that is no white space, in order, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        expect(englishWords(text).join('')).toBe(text.replace(/\s+/gu, ''));
        expect(englishSentences(text).join('').trimEnd()).toBe(text.trimEnd());
      }),
    );
  });
});

const steps = { gopherQuality, gopherRepetition, c4Quality, c4Paragraphs, finewebQuality } as const;
describe.each(Object.keys(steps) as (keyof typeof steps)[])('%s', (name) => {
  it("gives datatrove's verdicts, reasons and texts", async () => {
    for (const { text, ...verdicts } of filters) {
      const expected = verdicts[name] === 'ZeroDivisionError' ? 'empty' : verdicts[name];
      expect({ text, verdict: await verdictOf(steps[name]<Row>(), { text }) }).toEqual({ text, verdict: expected });
    }
    // Texts that are kept, and more than one reason.
    expect(new Set(filters.map((entry) => JSON.stringify(entry[name]))).size).toBeGreaterThan(1);
  });

  testDataStep(it, () => steps[name]<Row>(), { rows: filters.slice(8, 24).map(({ text }, i) => ({ text, i })) });

  it('refuses a row without a text', async () => {
    expect(await errorOf(() => pipeline<Row>([{ body: 'x' }], [steps[name]<Row>()]).collect())).toMatchObject({
      code: 'DATA_ROW',
    });
  });
});

describe('filters of texts', () => {
  it('leave out the checks whose option is null', async () => {
    const short = { text: 'be to the' };
    expect(await verdictOf(gopherQuality({ minDocWords: null, minAvgWordLength: null }), short)).toBe(true);
    expect(await verdictOf(gopherQuality(), short)).toBe('gopher_short_doc');
    expect(() => gopherQuality({ minDocWords: 'many' as never })).toThrow(/minDocWords/);
  });

  it('share of a repeated n-gram, by hand', async () => {
    // Of "aa bb aa bb aa cc" (17 characters) "aa bb" is there twice: 10 characters.
    const text = 'aa bb aa bb aa cc';
    expect(await verdictOf(gopherRepetition({ topNGrams: [[2, 10 / 17]], dupNGrams: [] }), { text })).toBe(true);
    expect(await verdictOf(gopherRepetition({ topNGrams: [[2, 10 / 17 - 1e-9]], dupNGrams: [] }), { text })).toBe(
      'top_2_gram',
    );
    // "aabb" was there before once: 4 characters.
    expect(await verdictOf(gopherRepetition({ topNGrams: [], dupNGrams: [[2, 4 / 17]] }), { text })).toBe(true);
    expect(await verdictOf(gopherRepetition({ topNGrams: [], dupNGrams: [[2, 4 / 17 - 1e-9]] }), { text })).toBe(
      'duplicated_2_n_grams',
    );
  });

  it('drop texts with a bad word between others, and keep a share of them', async () => {
    const step = (more = {}) => badWords<Row>({ words: ['rude', 'very bad', 'a+b'], ...more });
    const texts = ['It is RUDE.', 'crude rudeness', 'so very bad!', 'a+b', 'aab', 'rude_word'];
    const kept = await pipeline<Row>(
      texts.map((text) => ({ text })),
      [step()],
    ).collect();
    expect(kept.map(({ text }) => text)).toEqual(['crude rudeness', 'aab', 'rude_word']);
    expect(await verdictOf(step({ words: ['anti-x', 'c/d', '(x)'] }), { text: 'An anti-x.' })).not.toBe(true);
    expect(await verdictOf(step({ separated: false }), { text: 'crude' })).toBe('document_removed_with_badwords');
    const many = Array.from({ length: 2000 }, () => ({ text: 'rude' }));
    const share =
      (await pipeline<Row>(many, [step({ keepFraction: 0.25 })], { seed: 1 }).collect()).length / many.length;
    // Four standard deviations of a binomial share.
    expect(Math.abs(share - 0.25)).toBeLessThan(4 * Math.sqrt((0.25 * 0.75) / many.length));
  });

  it.each(urls)('addresses: $url', async ({ url, verdict }) => {
    const step = urlFilter<Row>({
      domains: ['bad.co.uk', 'sub.host.org'],
      urls: ['https://good.org/exact?page=1'],
      bannedWords: ['casino'],
      softBannedWords: ['mild', 'soft'],
      bannedSubwords: ['evilways'],
    });
    expect(await verdictOf(step, { url }, 'url')).toBe(verdict);
  });

  it('a word that would stand in every address is refused', async () => {
    for (const option of ['bannedWords', 'softBannedWords', 'bannedSubwords'])
      expect(() => urlFilter({ [option]: ['casino', '色情'] }), option).toThrow(/without a letter or digit/);
  });

  it('long runs without white space end soon', async () => {
    const start = performance.now();
    for (const run of ['a-', '!', '=!-', 'a:', 'a.', 'b@a.', "'"]) {
      const rows = [{ text: `${run.repeat(60_000)}x` }];
      await pipeline<Row>(rows, [scrubPii(), gopherQuality()]).collect();
    }
    expect(performance.now() - start).toBeLessThan(10_000);
  }, 60_000);

  it.each([
    ['me+a.b@x.org, éa-b@x.org', 'email@example.com, éa-firstname.lastname@example.org'],
    ['a@b.com+c@d.com a..b@x.org', 'email@example.com+firstname.lastname@example.org a..email@example.com'],
    ['a.@b.com @b.com a@b a@[1.2.3.4]', 'a.@b.com @b.com a@b email@example.com'],
  ])('e-mail addresses begin at a word: %s', async (text, scrubbed) => {
    const [row] = await pipeline<Row>([{ text }], [scrubPii({ kinds: ['email'] })]).collect();
    expect(row!.text).toBe(scrubbed);
  });

  it.each(pii)('personal data: $text', async ({ text, scrubbed, all }) => {
    const textAfter = async (step: DataStep<Row>) => (await pipeline<Row>([{ text }], [step]).collect())[0]!.text;
    expect(await textAfter(scrubPii())).toBe(scrubbed);
    expect(await textAfter(scrubPii({ onlyPublicIps: false }))).toBe(all);
  });

  it('numbers of telephones and of credit cards, where asked for', async () => {
    const text =
      'Call +44 20 7946 0958 or (555) 123-4567; card 4111 1111 1111 1111, not 4111 1111 1111 1112, 3.1415926535 or 2026-11-29.';
    const step = scrubPii<Row>({ kinds: ['phone', 'credit-card'] });
    const [row] = await pipeline<Row>([{ text }], [step]).collect();
    expect(row!.text).toBe(
      'Call [PHONE] or [PHONE]; card [CREDIT_CARD], not 4111 1111 1111 1112, 3.1415926535 or 2026-11-29.',
    );
  });

  it('languages, by a package or by anybody', async () => {
    const rows = [
      { text: 'The quick brown fox jumps over the lazy dog, and then it sleeps for a while.' },
      { text: 'Der schnelle braune Fuchs springt über den faulen Hund und schläft danach ein wenig.' },
      { text: '12 34 56' },
    ];
    const kept = await pipeline<Row>(rows, [languageFilter({ languages: ['en'], threshold: 0.2 })]).collect();
    expect(kept).toMatchObject([{ text: rows[0]!.text, language: 'en' }]);
    const own = languageFilter({
      detect: (text) => ({ language: text[0]!, score: text.length / 100 }),
      threshold: 0.8,
    });
    expect(await pipeline<Row>(rows, [own]).collect()).toMatchObject([{ language: 'D', language_score: 0.84 }]);
  });
});

interface Deduplication {
  readonly documents: string[];
  readonly sentences: { readonly nSentences: number; readonly minDocWords: number; readonly kept: (string | null)[] }[];
  readonly label: string;
  readonly query: string;
  readonly texts: string[];
  readonly decontamination: { readonly options: Readonly<Record<string, unknown>>; readonly dropped: boolean[] }[];
}
const { documents, sentences, label, query, texts, decontamination } = golden<Deduplication>('deduplication');

describe('deduplication', () => {
  it.each(sentences)("by $nSentences sentences leaves datatrove's texts", async ({ nSentences, minDocWords, kept }) => {
    const rows = documents.map((text, i) => ({ text, i }));
    const left = await pipeline<Row>(rows, [sentenceDeduplicate<Row>({ nSentences, minDocWords })]).collect();
    expect(left).toEqual(rows.flatMap(({ i }) => (kept[i] === null ? [] : [{ text: kept[i], i }])));
  });

  it('by documents, paragraphs and lines keeps the first, whatever fits into memory', async () => {
    const random = createRandom(3);
    const rows = Array.from({ length: 800 }, () => ({
      text: `line ${random.integer(0, 120)}\nline ${random.integer(0, 120)}`,
    }));
    const seen = new Set<string>();
    const expected = rows.filter(({ text }) => !seen.has(text) && seen.add(text));
    const step = (by: 'document' | 'line') => exactDeduplicate<Row>({ by, memoryBytes: 2 ** 16 });
    expect(await pipeline<Row>(rows, [step('document')]).collect()).toEqual(expected);
    const lines = new Set<string>();
    const first = rows.map(({ text }) =>
      text
        .split('\n')
        .filter((line) => !lines.has(line) && lines.add(line))
        .join('\n'),
    );
    expect((await pipeline<Row>(rows, [step('line')]).collect()).map(({ text }) => text)).toEqual(
      first.filter((text) => text !== ''),
    );
    const paragraphs = [{ text: 'a\n\nb\n\n\nc' }, { text: ' b \n\nd' }, { text: 'a\n\nb' }];
    const run = pipeline<Row>(paragraphs, [exactDeduplicate<Row>({ by: 'paragraph' })]);
    expect(await run.collect()).toEqual([{ text: 'a\n\nb\n\n\nc' }, { text: 'd' }]);
    expect(run.report()[0]!.reasons).toEqual({ 'every paragraph was there before': 1 });
  });

  const rows = documents.map((text, i) => ({ text, i }));
  testDataStep(it, () => sentenceDeduplicate<Row>({ minDocWords: 10 }), { rows });
  testDataStep(it, () => exactDeduplicate<Row>({ by: 'line' }), { rows });

  it.each(decontamination)('decontamination with $options drops what datatrove drops', async ({ options, dropped }) => {
    const step = decontaminate<Row>({
      evaluations: [{ task: 'sums', query, answer: label }],
      nGrams: (options.n_grams as number | undefined) ?? 12,
      findQueryNgrams: options.find_query_ngrams === true,
      findOverlapNgrams: options.find_overlap_ngrams !== false,
    });
    const kept = await pipeline<Row>(
      texts.map((text) => ({ text })),
      [step],
    ).collect();
    expect(texts.map((text) => !kept.some((row) => row.text === text))).toEqual(dropped);
  });

  it('says what is shared, and finds every text that holds a whole answer', () => {
    const evaluations = [{ task: 't', answer: 'one two three four' }];
    const index = evaluationNgrams({ evaluations, nGrams: 3 });
    expect(contaminationOf('so: One, two THREE!', index, 3)).toEqual({ task: 't', ngram: 'one two three' });
    expect(contaminationOf('one two four', index, 3)).toBeUndefined();
  });
});

interface LabelErrors {
  readonly cases: {
    readonly labels: number[];
    readonly probabilities: number[][];
    readonly thresholds: number[];
    readonly joint: number[][];
    readonly calibrated: number[][];
    readonly issues: Record<'prune_by_noise_rate' | 'prune_by_class' | 'both' | 'confident_learning', number[]>;
  }[];
}

describe('confident learning', () => {
  it.each(golden<LabelErrors>('label-errors').cases)("thresholds, joint and indices are cleanlab's", (entry) => {
    const { labels, probabilities } = entry;
    for (const [k, threshold] of confidentThresholds(labels, probabilities).entries()) {
      expect(threshold).toBeCloseTo(entry.thresholds[k]!, 12);
    }
    const { joint } = confidentJoint(labels, probabilities);
    expect(joint).toEqual(entry.joint);
    expect(calibratedJoint(joint, labels)).toEqual(entry.calibrated);
    for (const [filterBy, issues] of Object.entries(entry.issues)) {
      expect({ filterBy, found: findLabelErrors(labels, probabilities, { filterBy: filterBy as 'both' }) }).toEqual({
        filterBy,
        found: issues,
      });
    }
  });

  it('finds planted errors of a model that is right, and none without them', () => {
    const truth = Array.from({ length: 300 }, (_, i) => i % 3);
    const sure = truth.map((label) => [0, 1, 2].map((k) => (k === label ? 0.9 : 0.05)));
    const planted = truth.map((label, i) => (i % 11 === 0 ? (label + 1) % 3 : label));
    expect(findLabelErrors(truth, sure)).toEqual([]);
    expect(findLabelErrors(planted, sure)).toEqual(planted.flatMap((label, i) => (label === truth[i] ? [] : [i])));
  });

  it('refuses what does not fit together', () => {
    expect(() => findLabelErrors([0, 1], [[1, 0]])).toThrow(/probabilities for every label/);
    expect(() => findLabelErrors([2], [[1, 0]])).toThrow(/label 0 must be a class from 0 to 1, got 2/);
    expect(() => findLabelErrors([0], [[2, 0]])).toThrow(/row 0 must have 2 probabilities/);
  });
});

describe('Bloom filter', () => {
  it('says of nothing that was added that it was not, and is wrong as often as asked', () => {
    for (const rate of [0.05, 0.01, 0.001]) {
      const n = 4000;
      const filter = new BloomFilter(n, rate);
      expect(filter.bits / n).toBeCloseTo(-Math.log(rate) / Math.LN2 ** 2, 2);
      for (let i = 0; i < n; i++) filter.add(`text ${i}`);
      for (let i = 0; i < n; i++) expect(filter.add(`text ${i}`)).toBe(true);
      // Asked of new texts one at a time, each of a filter that holds n (adding one changes next to nothing).
      let wrong = 0;
      for (let i = 0; i < 400; i++) if (filter.add(`other ${i}`)) wrong++;
      const deviation = Math.sqrt(rate * (1 - rate) * 400);
      expect(Math.abs(wrong - 400 * rate)).toBeLessThan(4 * deviation + 1);
    }
    expect(() => new BloomFilter(1e12, 0.001)).toThrow(/needs .* bytes/);
    expect(() => new BloomFilter(10, 1)).toThrow(/between 0 and 1/);
  });

  it.each(['document', 'paragraph', 'line'] as const)('gives what exact deduplication gives, by %s', async (by) => {
    const random = createRandom(3);
    const rows = Array.from({ length: 80 }, () => ({
      text: Array.from({ length: 3 }, () => `p${random.integer(0, 39)}`).join(random.integer(0, 1) ? '\n\n' : '\n'),
    }));
    const exact = await pipeline(rows, [exactDeduplicate({ by })]).collect();
    const step = bloomDeduplicate({ by, expected: 1000, falsePositiveRate: 1e-9 });
    expect(await pipeline(rows, [step]).collect()).toEqual(exact);
  });
});

describe('repaired text and readability', () => {
  type Spoiled = {
    readonly text: string;
    readonly ftfy: string;
    readonly meant: string;
    readonly encoding: string;
    readonly rounds: number;
  };
  const {
    repairs,
    left,
    others,
    readability: read,
  } = JSON.parse(readFileSync(new URL('../../../goldens/text-repair/text-repair.json', import.meta.url), 'utf8')) as {
    readonly repairs: Spoiled[];
    readonly left: { readonly text: string; readonly ftfy: string }[];
    readonly others: { readonly text: string; readonly ftfy: string }[];
    readonly readability: ({ readonly text: string; readonly counts: Record<string, number> } & Record<
      string,
      number
    >)[];
  };

  it('is what was meant, for UTF-8 read once as another encoding, and no seldomer than by ftfy', () => {
    const meant = (from: readonly Spoiled[]) => from.filter(({ text, meant }) => repairUnicode(text) === meant).length;
    const once = repairs.filter(({ rounds, encoding }) => rounds === 1 && encoding !== 'macroman');
    expect(meant(once)).toBe(once.length);
    expect(meant(repairs)).toBeGreaterThanOrEqual(repairs.filter(({ ftfy, meant }) => ftfy === meant).length);
  });

  it('is left alone where nothing is wrong, and else as ftfy has it', () => {
    for (const { text } of left) expect(repairUnicode(text)).toBe(text);
    for (const { text, ftfy } of others) expect(repairUnicode(text)).toBe(ftfy);
    fc.assert(fc.property(fc.string({ unit: 'grapheme-ascii' }), (text) => repairMojibake(text) === text));
    expect(repairUnicode('half \ud83d pair')).toBe('half \ufffd pair');
    // A page ends, and a bracket begins the next: no escape.
    expect(repairUnicode('a\f[Figure 1] \u001b[31mred\u001b[0m')).toBe('a[Figure 1] red');
  });

  it('is a step whose changes have lineage', async () => {
    expect(await verdictOf(repairText(), { text: 'schÃ¶n, Ã¼ber' })).toEqual({ text: 'schön, über' });
    expect(await verdictOf(repairText(), { text: 'schön' })).toBe(true);
  });

  it.each(read)("has textstat's scores of its counts: $text", ({ counts, ...row }) => {
    const found = readabilityOf(counts as never) as unknown as Record<string, number>;
    for (const score of ['fleschReadingEase', 'fleschKincaidGrade', 'smog', 'lix'])
      expect(found[score]).toBeCloseTo(row[score]!, 9);
    // textstat counts punctuation there, and rounds what Coleman and Liau's formula takes.
    const { automatedReadability } = readabilityOf({ ...counts, letters: counts.characters } as never);
    expect(automatedReadability).toBeCloseTo(row.automatedReadability!, 9);
  });

  it('counts syllables by spelling, and filters', async () => {
    const words = {
      cat: 1,
      table: 2,
      made: 1,
      wanted: 2,
      jumped: 1,
      boxes: 2,
      reading: 2,
      beautiful: 3,
      the: 1,
      going: 2,
      rhythm: 1,
    };
    for (const [word, count] of Object.entries(words)) expect([word, syllablesOf(word)]).toEqual([word, count]);
    expect(readability('The cat sat. It ran.').fleschReadingEase).toBeCloseTo(206.835 - 1.015 * 2.5 - 84.6, 9);
    const step = readabilityFilter({ min: 60 });
    expect(await verdictOf(step, { text: 'The cat sat on the mat.' })).toBe(true);
    expect(await verdictOf(step, { text: read[1]!.text })).toBe('fleschReadingEase too small');
    expect(await verdictOf(step, { text: '!!!' })).toBe('no words');
  });
});

describe('scores and matches by embeddings', () => {
  /** Counts of letters. */
  const embedder = {
    name: 'letters',
    embed: async (texts: readonly string[]) =>
      texts.map((text) => Float32Array.from('abcdefgh', (c) => text.split(c).length - 1)),
  };
  const random = createRandom(5);
  const words = Array.from({ length: 200 }, () =>
    Array.from({ length: 12 }, () => 'abcdefgh'[random.integer(0, 7)]).join(''),
  );
  const truth = (text: string) => 0.4 * (text.split('a').length - 1) - 0.2 * (text.split('b').length - 1) + 2;

  it('a head finds the linear score that texts have, and its gradient is zero', async () => {
    const rows = words.slice(0, 150).map((text) => ({ text, score: truth(text) }));
    const head = await fitScoreHead(embedder, rows, { l2: 1e-9 });
    const vectors = await embedder.embed(words.slice(150));
    for (const [i, text] of words.slice(150).entries()) expect(scoreOf(head, vectors[i]!)).toBeCloseTo(truth(text), 3);
    const noisy = rows.map((row, i) => ({ ...row, score: row.score + Math.sin(i) }));
    const l2 = 0.1;
    const ridge = await fitScoreHead(embedder, noisy, { l2 });
    const all = await embedder.embed(noisy.map(({ text }) => text));
    const errors = all.map((vector, i) => scoreOf(ridge, vector) - noisy[i]!.score);
    for (const [j, weight] of ridge.weights.entries()) {
      const gradient = errors.reduce((sum, error, i) => sum + error * all[i]![j]!, 0) / noisy.length + l2 * weight;
      expect(gradient).toBeCloseTo(0, 6);
    }
    const kept = await pipeline(
      words.slice(150).map((text) => ({ text })),
      [scoreFilter({ embedder, head, threshold: 3 })],
    ).collect();
    expect(kept.map(({ text }) => text)).toEqual(words.slice(150).filter((text) => truth(text) > 2.5001));
    expect(() => scoreFilter({ embedder: { ...embedder, name: 'x' }, head })).toThrow(/fitted with letters/);
    await expect(fitScoreHead(embedder, rows.slice(0, 1))).rejects.toThrow(/at least two/);
  });

  it('drops what means the same as a problem, and tells the report which', async () => {
    const matches: SemanticMatch[] = [];
    const evaluations = [
      { task: 'arc', answer: 'hhhh' },
      { task: 'gsm', query: 'aabb', answer: 'c' },
    ];
    const step = semanticDecontaminate<{ text: string }>({
      embedder,
      evaluations,
      threshold: 0.99,
      onMatch: (match) => matches.push(match),
    });
    const run = pipeline([{ text: 'abab' }, { text: 'abcd' }, { text: 'bacab' }, { text: 'hgh' }], [step]);
    expect(await run.collect()).toEqual([{ text: 'abcd' }, { text: 'hgh' }]);
    expect(run.report()[0]!.reasons).toEqual({ 'contaminated: gsm': 2 });
    expect(matches.map(({ task, evaluation, id }) => [task, evaluation, id])).toEqual([
      ['gsm', 1, '0'],
      ['gsm', 1, '2'],
    ]);
    expect(matches[0]!.similarity).toBeCloseTo(1, 6);
  });
});
