import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { referenceEngine, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Adapter,
  CausalLM,
  classifierGradients,
  loadWeights,
  nliEntailer,
  SequenceClassifier,
  TokenClassifier,
  Tokenizer,
  ValueModel,
} from '../../src/index.js';
import { goldenFolder, largestDifference, temporaryFolder, tinyModel, tokenizerFolder } from '../support.js';

beforeAll(() => setEngine(referenceEngine()));

const range = (n: number, f: (i: number) => number) => Array.from({ length: n }, (_, i) => f(i));
const SEQUENCES = [range(5, (i) => i + 3), range(40, (i) => 3 + ((3 * i) % 61)), [60], range(17, (i) => i + 9)];

/** Adds `parameters` to what the module `name` gives. */
const adding = (name: string, amount: Tensor): Adapter<Tensor> => ({
  name: 'adding',
  parameters: amount,
  hooks: (added) => ({ linear: (x, layer) => (layer.name === name ? layer.apply(x).add(added) : layer.apply(x)) }),
});

describe('SequenceClassifier', () => {
  it('gives each sequence its logits, whatever it is batched with', async () => {
    const classifier = await SequenceClassifier.fromCausalLM(await tinyModel(), { labels: ['a', 'b', 'c'], seed: 2 });
    const together = await classifier.logits(SEQUENCES);
    const apart = await classifier.logits(SEQUENCES, { maxTokensPerPass: 1 });
    for (const [i, logits] of together.entries()) {
      expect(logits.length).toBe(3);
      expect(largestDifference(logits, apart[i]!)).toBeLessThan(1e-5);
    }
    expect(largestDifference(together[0]!, together[1]!)).toBeGreaterThan(1e-3);
  });

  it('reads the last token that is not padding, as transformers does', async () => {
    const model = await tinyModel('byte-level-bpe', { pad_token_id: 7 });
    const classifier = await SequenceClassifier.fromCausalLM(model);
    const [plain, padded, nothing, first] = await classifier.logits([[3, 7, 5], [3, 7, 5, 7, 7], [7, 7], [7]]);
    expect(largestDifference(plain!, padded!)).toBeLessThan(1e-6);
    expect(largestDifference(nothing!, first!)).toBeLessThan(1e-6);
  });

  it.each([{}, { model_type: 'gpt2' }])('saves a folder that loads as it was (%o)', async (kind) => {
    const classifier = await SequenceClassifier.fromCausalLM(await tinyModel('byte-level-bpe', kind), {
      labels: ['no', 'yes'],
    });
    const folder = await temporaryFolder();
    await classifier.save(folder);
    const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
    expect(json.architectures[0]).toMatch(/^(Llama|GPT2)ForSequenceClassification$/);
    expect(json.label2id).toEqual({ no: 0, yes: 1 });
    const again = await SequenceClassifier.load(folder);
    expect(again.labels).toEqual(['no', 'yes']);
    expect(again.weights['lm_head.weight']).toBeUndefined();
    const [before, after] = [await classifier.logits(SEQUENCES), await again.logits(SEQUENCES)];
    for (const [i, logits] of before.entries()) expect(largestDifference(logits, after[i]!)).toBeLessThan(1e-5);
    await expect(CausalLM.load(folder)).rejects.toThrow(/Load it with SequenceClassifier.load/);
    await expect(TokenClassifier.load(folder)).rejects.toThrow(/a head for sequence-classification/);
  });

  it('has a head that depends on the seed, over the very tensors of the trunk', async () => {
    const model = await tinyModel();
    const heads = await Promise.all([1, 1, 2].map((seed) => SequenceClassifier.fromCausalLM(model, { seed })));
    const [one, same, other] = await Promise.all(heads.map(({ weights }) => weights['score.weight']!.toArray()));
    expect(one).toEqual(same);
    expect(largestDifference(one!, other!)).toBeGreaterThan(0.01);
    expect(heads[0]!.weights['model.norm.weight']).toBe(model.weights['model.norm.weight']);
    const moved = heads[0]!.withWeights(heads[2]!.weights, 'moved');
    expect(moved.name).toBe('moved');
    expect((await moved.logits([[5, 6]]))[0]).toEqual((await heads[2]!.logits([[5, 6]]))[0]);
  });

  it('runs over a quantised trunk and stores it', async () => {
    const quantized = await (await tinyModel('byte-level-bpe', { hidden_size: 64, intermediate_size: 64 })).quantize({
      method: 'nf4',
    });
    const classifier = await SequenceClassifier.fromCausalLM(quantized);
    const same = await SequenceClassifier.fromCausalLM(await quantized.dequantize());
    const [codes, floats] = [await classifier.logits(SEQUENCES), await same.logits(SEQUENCES)];
    const folder = await temporaryFolder();
    await classifier.save(folder);
    const loaded = await (await SequenceClassifier.load(folder)).logits(SEQUENCES);
    for (const [i, logits] of codes.entries()) {
      expect(largestDifference(logits, floats[i]!)).toBeLessThan(1e-5);
      expect(largestDifference(logits, loaded[i]!)).toBeLessThan(1e-5);
    }
  });

  it('lets adapters into the trunk and the head', async () => {
    const classifier = await SequenceClassifier.fromCausalLM(await tinyModel(), { labels: 2 });
    const [plain] = await classifier.logits([[5, 6, 7]]);
    const inHead = adding('score', tensor([10, -1], [2]));
    const [moved] = await classifier.logits([[5, 6, 7]], { adapter: inHead });
    expect(largestDifference(moved!, [plain![0]! + 10, plain![1]! - 1])).toBeLessThan(1e-5);
    const inTrunk = adding('model.layers.0.self_attn.v_proj', tensor([1, 1, 1, 1, 1, 1, 1, 1], [8]));
    const [other] = await classifier.logits([[5, 6, 7]], { adapter: inTrunk });
    expect(largestDifference(plain!, other!)).toBeGreaterThan(1e-3);
  });

  it('refuses a causal folder, naming the way', async () => {
    const folder = await temporaryFolder();
    await (await tinyModel()).save(folder);
    await expect(SequenceClassifier.load(folder)).rejects.toThrow(/no head.*fromCausalLM/);
    await expect(ValueModel.load(folder)).rejects.toThrow(/no head.*fromCausalLM/);
    await expect(SequenceClassifier.fromCausalLM(await tinyModel(), { label: 2 } as object)).rejects.toThrow(
      /"labels"/,
    );
  });
});

describe('TokenClassifier', () => {
  it('gives a row for every token, which does not see later ones', async () => {
    const classifier = await TokenClassifier.fromCausalLM(await tinyModel(), { labels: 3 });
    const rows = await classifier.logits(SEQUENCES);
    expect(rows.map(({ length }) => length)).toEqual(SEQUENCES.map(({ length }) => length));
    const [prefix] = await classifier.logits([SEQUENCES[1]!.slice(0, 11)]);
    for (const [t, row] of prefix!.entries()) expect(largestDifference(row, rows[1]![t]!)).toBeLessThan(1e-5);
  });

  it('saves a folder that loads as it was, with its bias', async () => {
    const classifier = await TokenClassifier.fromCausalLM(await tinyModel('byte-level-bpe', { model_type: 'gpt2' }));
    const biased = classifier.withWeights({ ...classifier.weights, 'classifier.bias': tensor([3, -3], [2]) });
    const folder = await temporaryFolder();
    await biased.save(folder);
    const [[before], [after]] = [
      await biased.logits([[9, 8]]),
      await (await TokenClassifier.load(folder)).logits([[9, 8]]),
    ];
    for (const [t, row] of before!.entries()) expect(largestDifference(row, after![t]!)).toBeLessThan(1e-5);
    const [[plain]] = [await classifier.logits([[9, 8]])];
    expect(before![1]![0]! - plain![1]![0]!).toBeCloseTo(3, 5);
  });
});

describe('ValueModel', () => {
  it('ends with what the reward model of the same head gives', async () => {
    const reward = await SequenceClassifier.fromCausalLM(await tinyModel());
    const values = await new ValueModel(reward).values(SEQUENCES);
    const rewards = await reward.logits(SEQUENCES);
    for (const [i, { length }] of SEQUENCES.entries()) {
      expect(values[i]!.length).toBe(length);
      expect(values[i]![length - 1]).toBeCloseTo(rewards[i]![0]!, 5);
    }
  });

  it('keeps the language model beside a v_head, and its names in the folder', async () => {
    const model = await tinyModel();
    const critic = await ValueModel.fromCausalLM(model, { format: 'v_head', seed: 4 });
    const folder = await temporaryFolder();
    await critic.save(folder);
    const again = await ValueModel.load(folder);
    expect(Object.keys(again.weights)).toContain('v_head.summary.bias');
    expect(await again.weights['lm_head.weight']!.toArray()).toEqual(
      (await model.weights['lm_head.weight']!.toArray()).map(Math.fround),
    );
    const [before, after] = [await critic.values(SEQUENCES), await again.values(SEQUENCES)];
    for (const [i, values] of before.entries()) expect(largestDifference(values, after[i]!)).toBeLessThan(1e-5);
    await expect(CausalLM.load(folder)).rejects.toThrow(/a value head. Load it with ValueModel.load/);
  });

  it('refuses a head of several outputs', async () => {
    const classifier = await SequenceClassifier.fromCausalLM(await tinyModel(), { labels: 2 });
    expect(() => new ValueModel(classifier)).toThrow(/the head has 2 outputs/);
  });
});

describe('a reward model as a Verifier', () => {
  const requests = [
    { prompt: 'Is it?', completion: ' Yes.' },
    { prompt: [{ role: 'user', content: 'Is it?' }], completion: 'No.' },
  ];

  it('scores the whole conversation, or the text with its end token, by the reward', async () => {
    const model = await tinyModel('byte-level-bpe', {}, 5);
    const reward = await SequenceClassifier.fromCausalLM(model);
    const chat = [
      { role: 'user', content: 'Is it?' },
      { role: 'assistant', content: 'No.' },
    ];
    const tokens = [
      [...model.tokenizer.encode('Is it? Yes.'), model.tokenizer.eosId!],
      model.chatTemplate!.renderChat(chat).tokenIds,
    ];
    const logits = await reward.logits(tokens);
    const verdicts = await reward.verifier().verify(requests);
    for (const [i, { score }] of verdicts.entries()) expect(score).toBeCloseTo(logits[i]![0]!, 5);
  });

  it('gives the probability of a label: of all labels they sum to one', async () => {
    const classifier = await SequenceClassifier.fromCausalLM(await tinyModel(), { labels: ['bad', 'fair', 'good'] });
    const scores = await Promise.all(classifier.labels.map((label) => classifier.verifier({ label }).verify(requests)));
    for (const i of [0, 1]) expect(scores.reduce((sum, verdicts) => sum + verdicts[i]!.score!, 0)).toBeCloseTo(1, 6);
    expect(() => classifier.verifier()).toThrow(/say which is the score/);
    expect(() => classifier.verifier({ label: 'god' })).toThrow(/no label "god"; there are bad, fair, good/);
  });
});

const golden = async (name: string) =>
  JSON.parse(await readFile(join(goldenFolder('features'), `${name}.json`), 'utf8'));

describe('nliEntailer', () => {
  const labels = ['contradiction', 'neutral', 'entailment'];
  const classifier = async (names: readonly string[] = labels) =>
    SequenceClassifier.fromCausalLM(await tinyModel(), { labels: names, seed: 3 });
  const requests = [
    { premise: 'All cats sleep.', hypothesis: 'A cat sleeps.' },
    { premise: 'A cat sleeps.', hypothesis: 'All cats sleep.' },
  ];

  it('tokenizes pairs as transformers does', async () => {
    const { pairs } = await golden('entailment');
    expect(pairs.length).toBe(8);
    for (const { tokenizer: name, premise, hypothesis, ids } of pairs) {
      const tokenizer = await Tokenizer.load(tokenizerFolder(name));
      const seen: (readonly number[])[] = [];
      const model = {
        ...{ name, labels, tokenizer },
        logits: async (sequences: readonly (readonly number[])[]) => {
          seen.push(...sequences);
          return sequences.map(() => Float32Array.from([0, 1, 2]));
        },
      };
      await nliEntailer(model as unknown as SequenceClassifier).entail([{ premise, hypothesis }]);
      expect(seen).toEqual([ids]);
    }
  });

  it('is the softmax of the logits of its three labels, by their names, in the order that was asked for', async () => {
    const model = await classifier();
    const entailer = nliEntailer(model);
    const { tokenizer } = model;
    const answers = await entailer.entail(requests);
    const logits = await model.logits(
      requests.map(({ premise, hypothesis }) => [...tokenizer.encode(premise), ...tokenizer.encode(hypothesis)]),
    );
    for (const [i, answer] of answers.entries()) {
      const weights = Array.from(logits[i]!, Math.exp);
      const total = weights.reduce((a, b) => a + b, 0);
      const expected = [answer.contradiction, answer.neutral, answer.entailment];
      expect(
        largestDifference(
          expected,
          weights.map((w) => w / total),
        ),
      ).toBeLessThan(1e-6);
    }
    expect(largestDifference([answers[0]!.entailment], [answers[1]!.entailment])).toBeGreaterThan(1e-4);
    // As one text, where a model was trained so.
    const joined = nliEntailer(model, { text: (premise, hypothesis) => `${premise} => ${hypothesis}` });
    const [one] = await joined.entail(requests);
    const [row] = await model.logits([tokenizer.encode('All cats sleep. => A cat sleeps.')]);
    expect(Math.log(one!.entailment / one!.neutral)).toBeCloseTo(row![2]! - row![1]!, 4);
  });

  it('finds its classes under the names that models have for them, or is told', async () => {
    const [answer] = await nliEntailer(await classifier(['ENTAILMENT', 'Neutral', 'CONTRADICTORY'])).entail(requests);
    const [other] = await nliEntailer(await classifier(['a', 'b', 'c']), {
      labels: { entailment: 'a', neutral: 'b', contradiction: 'c' },
    }).entail(requests);
    expect(answer).toEqual(other);
    const [two] = await nliEntailer(await classifier(['not_entailment', 'entailment'])).entail(requests);
    expect(two!.contradiction).toBe(0);
    expect(two!.entailment + two!.neutral).toBeCloseTo(1, 6);
    expect(() => nliEntailer({ name: 'm', labels: ['LABEL_0', 'LABEL_1'] } as never)).toThrow(/LABEL_0, LABEL_1; say/);
    const model = await classifier();
    expect(() => nliEntailer(model, { labels: { entailment: 'yes' } })).toThrow(/no label "yes"/);
    expect(() => nliEntailer(model, { labels: { entailment: 'entailment' } })).toThrow(/must name neutral/);
  });
});

describe('classifierGradients', () => {
  /** The golden's model, whose prompts are its token ids. */
  const goldenModel = async () => {
    const parts = await loadWeights(join(goldenFolder('heads'), 'qwen2-sequence'));
    const tokenizer = { vocabSize: 64, encode: (text: string) => text.split(' ').map(Number) };
    return new SequenceClassifier({ ...parts, name: 'golden', tokenizer: tokenizer as unknown as Tokenizer });
  };

  it('are those of torch by autograd, of hallucinated and of given labels', async () => {
    const { classifier: cases } = await golden('badge');
    const gradients = classifierGradients(await goldenModel());
    const requests = cases.map(({ tokens, label }: { tokens: number[]; label: string }) => ({
      prompt: tokens.join(' '),
      completion: label,
    }));
    for (const of of ['hallucinated', 'loss'] as const) {
      const found = await gradients.gradients(requests, { of, parameters: 'output' });
      for (const [i, vector] of found.entries()) {
        expect(vector.length).toBe(3 * 16);
        expect(largestDifference(vector, cases[i][of])).toBeLessThan(1e-5);
      }
    }
  });

  it('are long where the model is unsure, lie in the direction of h, and sum to zero over labels', async () => {
    const model = await SequenceClassifier.fromCausalLM(await tinyModel(), { labels: 3, seed: 5 });
    const surer = model.withWeights({ ...model.weights, 'score.weight': model.weights['score.weight']!.mul(20) });
    const requests = ['one', 'two and three', 'four'].map((prompt) => ({ prompt, completion: '' }));
    const ask = { of: 'hallucinated', parameters: 'output' } as const;
    const [unsure, sure] = [
      await classifierGradients(model).gradients(requests, ask),
      await classifierGradients(surer).gradients(requests, ask),
    ];
    const width = model.config.hiddenSize;
    for (const [i, vector] of unsure.entries()) {
      expect(Math.hypot(...vector)).toBeGreaterThan(Math.hypot(...sure[i]!));
      for (let j = 0; j < width; j++) {
        expect(vector[j]! + vector[width + j]! + vector[2 * width + j]!).toBeCloseTo(0, 5);
      }
    }
  });

  it('refuses what has no closed form', async () => {
    const model = await SequenceClassifier.fromCausalLM(await tinyModel(), { labels: ['no', 'yes'] });
    const gradients = classifierGradients(model);
    const requests = [{ prompt: 'x', completion: 'maybe' }];
    await expect(gradients.gradients(requests)).rejects.toThrow(/parameters "trained".*rowGradients of a trainer/);
    await expect(gradients.gradients(requests, { parameters: 'output', projection: 4 })).rejects.toThrow(
      /projection 4/,
    );
    await expect(gradients.gradients(requests, { parameters: 'output' })).rejects.toThrow(/no label "maybe"/);
    const reward = await SequenceClassifier.fromCausalLM(await tinyModel());
    expect(() => classifierGradients(reward)).toThrow(/two labels or more/);
  });
});
