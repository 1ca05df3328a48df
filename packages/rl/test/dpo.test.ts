import { join } from 'node:path';
import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import { type CausalLM, ChatTemplate, Tokenizer } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { annotatePairs, dpoLoss, liftPreferenceLoss, type PreferenceRow, tokenizePair } from '../src/index.js';
import { evaluateLoss, expectClose, goldenFolder } from './goldens.js';
import { dpoGolden, expectGolden, ofDpo, pairsOf } from './preference-goldens.js';

beforeAll(() => setEngine(referenceEngine()));

describe('DPO against TRL', () => {
  const { pairs, order } = pairsOf(dpoGolden.inputs, dpoGolden.pairs);
  const cases = ofDpo.filter(({ options }) => String(options.loss_types) === 'sigmoid');

  it('has both cases', () => {
    expect(cases.map(({ options }) => options.beta)).toEqual([undefined, 0.5]);
  });

  it.each(cases)('value, gradient and metrics with $options', async (golden) => {
    const { beta } = golden.options as { beta?: number };
    const loss = dpoLoss(beta === undefined ? {} : { beta });
    expect(await expectGolden(loss, pairs, golden, order)).toBeGreaterThan(6);
  });
});

describe('DPO with infinite data', () => {
  const softmax = (logits: readonly number[]) => {
    const exps = logits.map(Math.exp);
    const sum = exps.reduce((a, b) => a + b);
    return exps.map((value) => value / sum);
  };
  const [beta, reward, referenceLogits] = [0.4, [0.5, -0.7, 1.1, 0], [0.1, 0.6, -0.3, 0]];

  /** Gradient, by logit, of the loss over all pairs of actions, each weighted by how often it is preferred. */
  async function gradientAt(policy: readonly number[]): Promise<number[]> {
    const loss = liftPreferenceLoss(dpoLoss({ beta }));
    const reference = softmax(referenceLogits);
    const logs = policy.map(Math.log);
    const perAction = [0, 0, 0, 0];
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 4; j++) {
        if (i === j) continue;
        const preferred = 1 / (1 + Math.exp(reward[j]! - reward[i]!));
        const rows = annotatePairs([
          {
            promptTokens: [1],
            chosenTokens: [i],
            rejectedTokens: [j],
            reference: { chosen: [Math.log(reference[i]!)], rejected: [Math.log(reference[j]!)] },
          },
        ]);
        const { gradient } = await evaluateLoss(loss, rows, [[logs[i]!], [logs[j]!]], [[0], [0]]);
        perAction[i]! += (preferred * gradient[0]!) / 12;
        perAction[j]! += (preferred * gradient[1]!) / 12;
      }
    }
    const sum = perAction.reduce((a, b) => a + b);
    return perAction.map((value, k) => value - sum * policy[k]!);
  }

  it('stands still exactly at π_ref e^(r/β) / Z', async () => {
    const optimum = softmax(referenceLogits.map((logit, k) => logit + reward[k]! / beta));
    expectClose(await gradientAt(optimum), [0, 0, 0, 0], 1e-7);
    expect(Math.max(...(await gradientAt(softmax(referenceLogits))).map(Math.abs))).toBeGreaterThan(1e-3);
  });

  it('at the reference, every pair has loss log 2, and the gradient is half of beta', async () => {
    const reference = { chosen: [-1], rejected: [-2] };
    const rows = annotatePairs([{ promptTokens: [1], chosenTokens: [2], rejectedTokens: [3], reference }]);
    const result = await evaluateLoss(liftPreferenceLoss(dpoLoss({ beta })), rows, [[-1], [-2]], [[0], [0]]);
    expectClose([result.loss], [Math.log(2)], 1e-7);
    expectClose(result.gradient, [-beta / 2, beta / 2], 1e-7);
  });
});

describe('tokenizePair', () => {
  let model: CausalLM;
  beforeAll(async () => {
    const tokenizer = await Tokenizer.load(join(goldenFolder, 'tokenizers/byte-level-bpe'));
    model = { name: 'test', tokenizer, chatTemplate: await ChatTemplate.load(tokenizer) } as CausalLM;
  });
  const text = (tokens: readonly number[]) => model.tokenizer.decode(tokens);

  it('ends texts with the end token, and keeps prompt + completion together', () => {
    const row = { prompt: 'The sky is', chosen: ' blue.', rejected: ' green.' };
    const pair = tokenizePair(model, row, 0, 100)!;
    const end = model.tokenizer.specialTokens.eos_token!;
    expect(text([...pair.promptTokens, ...pair.chosenTokens]).endsWith(`The sky is blue.${end}`)).toBe(true);
    expect(text(pair.rejectedTokens)).toBe(` green.${end}`);
  });

  it('finds the prompt that both share, for texts and for messages', () => {
    const explicit = tokenizePair(model, { prompt: 'The sky is', chosen: ' blue', rejected: ' green' }, 0, 100);
    expect(tokenizePair(model, { chosen: 'The sky is blue', rejected: 'The sky is green' }, 0, 100)).toEqual(explicit);
    const ask = { role: 'user', content: 'Sky?' };
    const says = (content: string) => ({ role: 'assistant', content });
    const shared = tokenizePair(model, { chosen: [ask, says('blue')], rejected: [ask, says('red')] }, 0, 100)!;
    const given = { prompt: [ask], chosen: [says('blue')], rejected: [says('red')] };
    expect(tokenizePair(model, given, 0, 100)).toEqual(shared);
    expect(text(shared.chosenTokens)).toContain('blue');
    expect(text(shared.promptTokens)).toContain('Sky?');
  });

  it('cuts at maxLength, drops what is cut off whole, and refuses rows that make no pair', () => {
    const row = { prompt: 'The sky is', chosen: ' blue and wide and high.', rejected: ' green.' };
    const whole = tokenizePair(model, row, 0, 100)!;
    const limit = whole.promptTokens.length + 2;
    expect(tokenizePair(model, row, 0, limit)!.chosenTokens).toEqual(whole.chosenTokens.slice(0, 2));
    expect(tokenizePair(model, row, 0, whole.promptTokens.length)).toBeUndefined();
    expect(() => tokenizePair(model, { chosen: 'a', rejected: 'b' }, 7, 9)).toThrow(/row 7: has no prompt/);
    const mixed = { prompt: 'a', chosen: [], rejected: 'b' } as PreferenceRow;
    expect(() => tokenizePair(model, mixed, 3, 9)).toThrow(/row 3: prompt, chosen and rejected must all/);
  });
});
