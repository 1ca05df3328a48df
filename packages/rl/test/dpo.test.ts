import { join } from 'node:path';
import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import { type CausalLM, ChatTemplate, Tokenizer } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  annotatePairs,
  dpoLoss,
  type PreferenceRow,
  preferenceLosses,
  preferenceTokenLoss,
  tokenizePair,
} from '../src/index.js';
import { evaluateLoss, expectClose, goldenFolder, readGolden } from './goldens.js';

beforeAll(() => setEngine(referenceEngine()));

describe('DPO against TRL', () => {
  const golden = readGolden<{
    pairs: number;
    inputs: Record<'logps' | 'ref_logps' | 'mask' | 'entropies', number[][]>;
    cases: {
      options: Record<string, unknown> & { loss_types: string[]; beta?: number };
      loss: number;
      gradient: number[][];
      metrics: Record<string, number>;
    }[];
  }>('dpo-loss.json');
  const { inputs, pairs } = golden;
  const trained = (i: number) => inputs.mask[i]!.slice(1);
  // Rows 0 to 4 of the golden are chosen and 5 to 9 rejected; ours alternate. The prompt is the first three tokens.
  const order = Array.from({ length: pairs }, (_, i) => [i, i + pairs]).flat();
  const completion = (i: number, values: number[][]) => values[i]!.filter((_, t) => trained(i)[t] === 1);
  const width = inputs.logps[0]!.length;
  const rows = annotatePairs(
    Array.from({ length: pairs }, (_, i) => ({
      promptTokens: [1, 1, 1],
      chosenTokens: completion(i, inputs.logps).map(() => 2),
      rejectedTokens: completion(i + pairs, inputs.logps).map(() => 2),
      reference: { chosen: completion(i, inputs.ref_logps), rejected: completion(i + pairs, inputs.ref_logps) },
    })),
  ).map((row) => {
    const padded = (values: ArrayLike<number>) => [
      ...Array.from(values),
      ...new Array<number>(width - values.length).fill(0),
    ];
    return {
      tokens: new Array<number>(width + 1).fill(0),
      weights: padded(row.weights),
      annotations: Object.fromEntries(Object.entries(row.annotations!).map(([name, values]) => [name, padded(values)])),
    };
  });
  const plain = (options: object) => Object.keys(options).every((key) => key === 'loss_types' || key === 'beta');
  const cases = golden.cases.filter(({ options }) => plain(options) && options.loss_types.join() === 'sigmoid');

  it('has both cases', () => {
    expect(cases.map(({ options }) => options.beta)).toEqual([undefined, 0.5]);
  });

  it.each(cases)('value, gradient and metrics with $options', async ({ options, loss, gradient, metrics }) => {
    const { beta } = options;
    const preference = preferenceLosses.sigmoid(beta === undefined ? {} : { beta });
    const result = await evaluateLoss(
      preferenceTokenLoss(preference),
      rows,
      order.map((i) => inputs.logps[i]!),
      order.map((i) => inputs.entropies[i]!),
    );
    expectClose([result.loss], [loss], 1e-6, 'loss');
    expectClose(
      result.gradient,
      order.flatMap((i) => gradient[i]!),
      1e-6,
      'gradient',
    );
    for (const [name, value] of Object.entries(metrics)) expectClose([result.metrics[name]!], [value], 1e-5, name);
    expect(Object.keys(metrics).length).toBeGreaterThan(6);
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
    const loss = preferenceTokenLoss(dpoLoss({ beta }));
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
    const result = await evaluateLoss(preferenceTokenLoss(dpoLoss({ beta })), rows, [[-1], [-2]], [[0], [0]]);
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
