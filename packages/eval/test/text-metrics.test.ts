import { readFileSync } from 'node:fs';
import type { TokenEmbedder } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import {
  type BleuOptions,
  bertScore,
  bleu,
  type ChrfOptions,
  chrf,
  cider,
  EvaluationError,
  type MeteorOptions,
  meteor,
  porterStem,
  rouge,
  type TerOptions,
  ter,
  textGrader,
} from '../src/index.js';

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/eval-metrics/${name}.json`, import.meta.url), 'utf8')) as T;

interface TextCase {
  readonly metric: 'bleu' | 'chrf' | 'ter';
  readonly options: object;
  readonly corpus: number;
  readonly signature: string;
  readonly single: readonly number[];
  readonly first_reference: number;
}

const golden = read<{
  readonly pairs: readonly (readonly [string, readonly string[]])[];
  readonly cases: readonly TextCase[];
  readonly cider: readonly { sigma: number; score: number; scores: number[] }[];
  readonly bert_score: {
    table: number[][];
    hypotheses: number[][];
    references: number[][];
    plain: number[][];
    idf: number[][];
  };
}>('text');
const words = read<{
  readonly rouge: readonly (readonly [boolean, string, string, ...number[]])[];
  readonly meteor: readonly {
    hypothesis: string;
    references: string[];
    synonyms: boolean;
    options: MeteorOptions;
    score: number;
  }[];
  readonly synonyms: readonly (readonly string[])[];
  readonly stems: readonly (readonly [string, string])[];
}>('rouge-meteor');

const metrics = {
  bleu: (h: readonly string[], r: readonly (string | readonly string[])[], o: object) => bleu(h, r, o as BleuOptions),
  chrf: (h: readonly string[], r: readonly (string | readonly string[])[], o: object) => chrf(h, r, o as ChrfOptions),
  ter: (h: readonly string[], r: readonly (string | readonly string[])[], o: object) => ter(h, r, o as TerOptions),
};
const doubles = golden.pairs.filter(([, references]) => references.length === 2);
const hypotheses = doubles.map(([hypothesis]) => hypothesis);

describe('BLEU, chrF and TER', () => {
  it.each(golden.cases)(
    'are sacrebleu’s: $metric $options',
    ({ metric, options, corpus, signature, single, ...rest }) => {
      const score = metrics[metric];
      const whole = score(
        hypotheses,
        doubles.map(([, references]) => references),
        options,
      );
      expect(whole.score).toBeCloseTo(corpus, 8);
      expect(whole.signature).toBe(signature);
      const one = score(
        hypotheses,
        doubles.map(([, references]) => references[0]!),
        options,
      );
      expect(one.score).toBeCloseTo(rest.first_reference, 8);
      golden.pairs.forEach(([hypothesis, references], i) => {
        expect(score([hypothesis], [references], options).score, `${hypothesis} | ${references}`).toBeCloseTo(
          single[i]!,
          8,
        );
      });
    },
  );

  it('are 100, 100 and 0 of a text against itself, in their bounds, and the same in any order of texts and references', () => {
    const random = createRandom(1);
    const order = hypotheses.map((_, i) => i).sort(() => random.float() - 0.5);
    for (const metric of ['bleu', 'chrf', 'ter'] as const) {
      const score = metrics[metric];
      const [best, least] = metric === 'ter' ? [0, 0] : [100, 0];
      expect(score(hypotheses, hypotheses, {}).score).toBeCloseTo(best, 10);
      const whole = score(
        hypotheses,
        doubles.map(([, references]) => references),
        {},
      ).score;
      expect(whole).toBeGreaterThan(least);
      if (metric !== 'ter') expect(whole).toBeLessThan(100);
      const mixed = score(
        order.map((i) => hypotheses[i]!),
        order.map((i) => [...doubles[i]![1]].reverse()),
        {},
      ).score;
      // chrF takes the first of references that are equally good.
      expect(mixed).toBeCloseTo(whole, metric === 'chrf' ? 1 : 10);
    }
  });

  it('by hand: two of four words and one of three pairs, a shift for one edit', () => {
    // p = 2/4, 1/3; as long as its reference.
    expect(bleu(['a b x y'], ['a b c d'], { maxOrder: 2, smoothing: 'none' }).score).toBeCloseTo(
      100 * Math.sqrt(1 / 6),
      10,
    );
    // e^(1 - 4/2) for half the words.
    expect(bleu(['a b'], ['a b c d'], { maxOrder: 1 }).score).toBeCloseTo(100 * Math.exp(-1), 10);
    expect(ter(['c d a b'], ['a b c d']).edits).toBe(1);
    expect(ter(['a b d'], ['a b c d']).score).toBe(25);
    // One letter of two, in both.
    expect(chrf(['ab'], ['ac'], { characterOrder: 1 }).score).toBeCloseTo(50, 10);
  });

  it('refuse what is no pair, and options that they do not have', () => {
    expect(() => bleu(['a'], [])).toThrow(EvaluationError);
    expect(() => chrf(['a'], [[]])).toThrow('pair 0');
    expect(() => ter([1 as unknown as string], ['a'])).toThrow(EvaluationError);
    expect(() => bleu(['a'], ['a'], { tokenize: '13a' } as BleuOptions)).toThrow('tokenize');
  });
});

describe('ROUGE and METEOR', () => {
  it('stem as NLTK does', () => {
    expect(words.stems.length).toBeGreaterThan(130);
    expect(
      words.stems.filter(([word, stem]) => porterStem(word) !== stem).map(([word]) => [word, porterStem(word)]),
    ).toEqual([]);
  });

  it('are rouge-score’s', () => {
    const types = ['rouge1', 'rouge2', 'rougeL', 'rougeLsum'] as const;
    for (const [stem, hypothesis, reference, ...scores] of words.rouge) {
      types.forEach((type, i) => {
        const { precision, recall, f1 } = rouge(hypothesis, reference, { type, stem });
        const wanted = scores.slice(3 * i, 3 * i + 3);
        [precision, recall, f1].forEach((value, j) => {
          expect(value, `${type} ${hypothesis} | ${reference}`).toBeCloseTo(wanted[j]!, 10);
        });
      });
    }
  });

  it('are NLTK’s', () => {
    const synonyms = (word: string) =>
      words.synonyms
        .filter((group) => group.includes(word))
        .flat()
        .filter((name) => !name.includes('_'));
    for (const { hypothesis, references, options, score, ...rest } of words.meteor) {
      const given = { ...options, ...(rest.synonyms && { synonyms }) };
      expect(meteor(hypothesis, references, given), `${hypothesis} | ${references}`).toBeCloseTo(score, 10);
    }
  });

  it('by hand', () => {
    expect(rouge('the cat', 'the cat sat', { type: 'rouge1' })).toEqual({ precision: 1, recall: 2 / 3, f1: 0.8 });
    expect(rouge('a x b', 'a b', { type: 'rougeL' }).precision).toBeCloseTo(2 / 3, 12);
    // Lines in another order lose nothing by Lsum, and half by L.
    expect(rouge('c d\na b', 'a b\nc d', { type: 'rougeLsum' }).f1).toBe(1);
    expect(rouge('c d\na b', 'a b\nc d', { type: 'rougeL' }).f1).toBe(0.5);
    // Four words in one run: 1 − ½ (1/4)³; in two runs 1 − ½ (2/4)³.
    expect(meteor('a b c d', 'a b c d')).toBeCloseTo(1 - 0.5 / 64, 12);
    expect(meteor('c d a b', 'a b c d')).toBeCloseTo(1 - 0.5 / 8, 12);
    expect(meteor('x', 'y')).toBe(0);
  });

  it('grade completions, the best of several references counting', async () => {
    const grader = textGrader({
      name: 'rougeL',
      score: (text, references) => rouge(text, references, { type: 'rougeL' }).f1,
    });
    const rows = [{ answer: 'a b' }, { answer: ['x y', 'a'] }];
    const verdicts = await grader.verify(rows.map((row) => ({ prompt: '', completion: 'a', row })));
    expect(verdicts.map(({ score }) => score)).toEqual([2 / 3, 1]);
    await expect(grader.verify([{ prompt: '', completion: 'a', row: { answer: 3 } }])).rejects.toThrow('"answer"');
  });
});

describe('CIDEr', () => {
  const usable = golden.pairs.filter(
    ([hypothesis, references]) => hypothesis !== '' && references.every((text) => text !== ''),
  );
  const texts = usable.map(([hypothesis]) => hypothesis);
  const references = usable.map(([, list]) => list);

  it.each(golden.cider)('is pycocoevalcap’s, σ = $sigma', ({ sigma, score, scores }) => {
    const ours = cider(texts, references, { sigma });
    expect(ours.score).toBeCloseTo(score, 8);
    ours.scores.forEach((value, i) => {
      expect(value).toBeCloseTo(scores[i]!, 8);
    });
  });

  it('is 10 of a reference by itself, 0 of nothing in common, and the cosine in its plain form', () => {
    const corpus = ['a b c d e', 'f g h i j', 'k l m n o'];
    expect(cider(corpus, corpus).scores).toEqual([10, 10, 10].map((x) => expect.closeTo(x, 10)));
    expect(cider(['p q r s', ...corpus.slice(1)], corpus).scores[0]).toBe(0);
    // Words only: weights ln 2 for those of one text, 0 for the one of both; cos of (a a b) and (a b b) over them.
    const { scores } = cider(['a a b z', 'c z'], ['a b b z', 'c z'], { variant: 'plain', maxOrder: 1 });
    expect(scores[0]).toBeCloseTo((10 * 4) / 5, 10);
    expect(() => cider(['a'], ['a'])).toThrow('2 texts');
  });
});

describe('BERTScore', () => {
  const { table, ...tokens } = golden.bert_score;
  const embedder: TokenEmbedder = {
    name: 'table',
    tokenVectors: async (texts) =>
      texts.map((text) => {
        const ids = text.split(' ').map(Number);
        return {
          tokens: ids.map(String),
          vectors: ids.map((id) => Float32Array.from(table[id]!)),
          special: ids.map((id) => id < 2),
        };
      }),
  };
  const textsOf = (rows: readonly number[][]) => rows.map((row) => row.join(' '));

  it.each(['plain', 'idf'] as const)('is bert-score’s greedy matching: %s', async (name) => {
    const scores = await bertScore(textsOf(tokens.hypotheses), textsOf(tokens.references), {
      embedder,
      idf: name === 'idf',
    });
    scores.forEach(({ precision, recall, f1 }, i) => {
      [precision, recall, f1].forEach((value, j) => {
        expect(value).toBeCloseTo(tokens[name][i]![j]!, 6);
      });
    });
  });

  it('is 1 of a text with itself, turns round with its sides, and of one-hot vectors is the share of words', async () => {
    const ids = ['0', '1', 'a', 'b', 'c', 'd'];
    const oneHot: TokenEmbedder = {
      name: 'one-hot',
      tokenVectors: async (texts) =>
        texts.map((text) => {
          const list = ['0', ...text.split(' '), '1'];
          const vectors = list.map((word) => Float32Array.from(ids, (id) => Number(id === word)));
          return { tokens: list, vectors, special: list.map((word) => '01'.includes(word)) };
        }),
    };
    const [same, one, turned] = await bertScore(['a b', 'a b c', 'a d'], ['a b', 'a d', 'a b c'], { embedder: oneHot });
    expect(same).toEqual({ precision: 1, recall: 1, f1: 1 });
    expect(one).toEqual({ precision: 1 / 3, recall: 1 / 2, f1: 0.4 });
    expect(turned).toEqual({ precision: 1 / 2, recall: 1 / 3, f1: 0.4 });
    const [based] = await bertScore(['a b c'], ['a d'], { embedder: oneHot, baseline: 0.2 });
    expect(based!.f1).toBeCloseTo(0.25, 12);
    await expect(
      bertScore(['a'], ['b'], { embedder: { name: 'short', tokenVectors: async () => [] } }),
    ).rejects.toThrow('short');
  });
});
