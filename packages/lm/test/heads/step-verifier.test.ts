import { referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import { taggedTokens } from '../../src/heads/step-verifier.js';
import { StepVerifier, sequenceLogProbs, stepTagVerifier, TokenClassifier } from '../../src/index.js';
import { tinyModel } from '../support.js';

beforeAll(() => setEngine(referenceEngine()));

const STEPS = ['First, add.', 'Then\nsubtract.', 'So it is 4 <think> or 5.'];
const CHAT = [{ role: 'user', content: 'How much?' }];
const KINDS = ['byte-level-bpe', 'sentencepiece-bpe', 'unigram'];

describe('taggedTokens', () => {
  it.each(KINDS)('%s: each position ends the text up to its tag', async (kind) => {
    const model = await tinyModel(kind);
    for (const prompt of ['How much? ', CHAT]) {
      // The tag is in the steps too, and in the question.
      const { tokens, positions } = taggedTokens(model, prompt, STEPS, { stepTag: ' <think>', between: '\n' });
      expect(positions.length).toBe(3);
      const texts = positions.map((position) => model.tokenizer.decode(tokens.slice(0, position + 1)));
      for (const [i, text] of texts.entries()) {
        const wanted = STEPS.slice(0, i + 1)
          .map((step) => `${step} <think>`)
          .join('\n');
        // Some tokenizers turn line ends and runs of white space into one space.
        expect(text.replace(/\s+/g, ' ').endsWith(wanted.replace(/\s+/g, ' ')), text).toBe(true);
      }
    }
  });

  it('refuses a tag that is no end of a token', async () => {
    const model = await tinyModel();
    const long = model.tokenizer.encode(' the', { addSpecialTokens: false });
    expect(long.length).toBe(1);
    expect(() => taggedTokens(model, 'Q', [' a', 'e b'], { stepTag: ' th' })).toThrow(
      /step 0 .* does not end where a token/,
    );
  });
});

describe('TokenClassifier.verifier', () => {
  it('scores each step by the probability after its tag, as its tokens alone would be', async () => {
    const classifier = await TokenClassifier.fromCausalLM(await tinyModel());
    const verifier = classifier.verifier({ stepTag: '<think>', aggregation: 'min' });
    const requests = [
      { prompt: 'How much? ', completion: `${STEPS.join('\n\n')}\n\n` },
      { prompt: 'Nothing', completion: '\n\n \n\n' },
      { prompt: CHAT, completion: STEPS[0]! },
    ];
    const [three, none, one] = await verifier.verify(requests);
    expect(none).toEqual({ score: null, stepScores: [] });
    expect(one!.stepScores!.length).toBe(1);
    expect(three!.stepScores!.length).toBe(3);
    for (const i of [0, 1, 2]) {
      const text = `How much? ${STEPS.slice(0, i + 1)
        .map((step) => `${step}<think>`)
        .join('')}`;
      const [rows] = await classifier.logits([classifier.tokenizer.encode(text)]);
      const [wrong, right] = rows!.at(-1)!;
      expect(three!.stepScores![i]).toBeCloseTo(1 / (1 + Math.exp(wrong! - right!)), 5);
    }
    expect(three!.score).toBe(Math.min(...three!.stepScores!));
  });

  it.each([
    ['last', 0.5],
    ['min', 0.25],
    ['product', 0.0625],
    ['mean', 0.4166666],
  ] as const)('aggregates by %s', async (aggregation, wanted) => {
    const plain = await TokenClassifier.fromCausalLM(await tinyModel(), { labels: 1 });
    const stepScores = [0.5, 0.25, 0.5];
    // A head that knows nothing but its bias would score all alike: score by hand.
    const flat = plain.withWeights({ ...plain.weights, 'score.weight': tensor(new Float32Array(16), [1, 16]) });
    const [verdict] = await flat
      .verifier({ stepTag: '<think>', aggregation })
      .verify([{ prompt: '', completion: 'a\n\nb\n\nc' }]);
    expect(verdict!.stepScores).toEqual([0.5, 0.5, 0.5]);
    expect(verdict!.score).toBeCloseTo({ last: 0.5, min: 0.5, product: 0.125, mean: 0.5 }[aggregation], 6);
    const known = new StepVerifier(plain, async (all) => all.map((tokens) => scoresAtTags(tokens, plain, stepScores)), {
      stepTag: '<think>',
      aggregation,
    });
    const [byHand] = await known.verify([{ prompt: '', completion: 'a\n\nb\n\nc' }]);
    expect(byHand!.stepScores).toEqual(stepScores);
    expect(byHand!.score).toBeCloseTo(wanted, 6);
  });
});

/** Known scores at the tags, and nonsense elsewhere. */
function scoresAtTags(tokens: readonly number[], { tokenizer }: TokenClassifier, scores: readonly number[]): number[] {
  const tag = tokenizer.tokenToId('<think>');
  let next = 0;
  return tokens.map((token) => (token === tag ? scores[next++]! : Number.NaN));
}

describe('stepTagVerifier', () => {
  it('is the softmax over the two tokens that follow the tag', async () => {
    const model = await tinyModel();
    const verdict = stepTagVerifier(model, { stepTag: '<think>', between: '\n' }).verify([
      { prompt: 'Q ', completion: STEPS.join('\n\n') },
    ]);
    const { stepScores } = (await verdict)[0]!;
    const [plus, minus] = ['+', '-'].map((text) => model.tokenizer.encode(text, { addSpecialTokens: false })[0]!);
    for (const [i, score] of stepScores!.entries()) {
      const text = `Q ${STEPS.slice(0, i + 1)
        .map((step) => `${step}<think>`)
        .join('\n')}`;
      const tokens = model.tokenizer.encode(text);
      const scored = await sequenceLogProbs(model, [
        [...tokens, plus!],
        [...tokens, minus!],
      ]);
      const [good, bad] = scored.map(({ logProbs }) => Math.exp(logProbs.at(-1)!));
      expect(score).toBeCloseTo(good! / (good! + bad!), 5);
    }
  });

  it('refuses marks that are not one token, and options it does not know', async () => {
    const model = await tinyModel();
    expect(() => stepTagVerifier(model, { stepTag: '<think>', good: 'excellent work' })).toThrow(/where one is needed/);
    expect(() => stepTagVerifier(model, { stepTag: '' })).toThrow(/must have text/);
    expect(() => stepTagVerifier(model, { steptag: '<think>' } as never)).toThrow(/Did you mean "stepTag"/);
  });
});
