import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setEngine, type Tensor, tensor, valueAndGrad } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import {
  type CausalLM,
  EagleHead,
  eagleStates,
  LocalGenerator,
  MedusaHeads,
  type SpeculativeOptions,
} from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import { eagleLoss, medusaLoss, type TrainingRow, trainEagleHead, trainMedusaHeads } from '../src/index.js';
import { expectClose } from './model.js';

beforeAll(() => setEngine(onnxruntimeEngine()));

/** A model that goes from each token to one other: its blocks add nothing, and its output layer knows the embeddings. */
async function walker(seed: number) {
  const model = await tinyModel('llama', seed);
  const embedding = model.weights['model.embed_tokens.weight']!;
  const normed = embedding.div(embedding.square().mean(1, { keepDims: true }).sqrt());
  const from = Int32Array.from({ length: 40 }, (_, token) => (token * 23 + 40 - seed) % 40);
  const silent = Object.entries(model.weights).filter(([name]) => /o_proj|down_proj/.test(name));
  return model.withWeights({
    ...model.weights,
    ...Object.fromEntries(silent.map(([name, weight]) => [name, weight.mul(0)])),
    'lm_head.weight': normed.gather(tensor(from), 0),
  });
}

/** Greedy answers to prompts of one token, and how many tokens a pass gave. */
async function answersOf(model: CausalLM, from: number, n: number, speculative?: SpeculativeOptions) {
  const generator = new LocalGenerator(model, speculative ? { speculative } : {});
  const prompts = Array.from({ length: n }, (_, i) => ({ tokenIds: [(from + i) % 40], continuesText: true }));
  const answers = await generator.generate(
    prompts.map((prompt) => ({ prompt, maxTokens: 9, minNewTokens: 9, temperature: 0 })),
  );
  const tokens = answers.map(([answer], i) => [...prompts[i]!.tokenIds, ...answer!.tokenIds!]);
  return { tokens, rate: generator.speculation?.tokensPerPass };
}

const rowsOf = (texts: readonly (readonly number[])[]): TrainingRow[] =>
  texts.map((tokens) => ({ tokens: [...tokens], weights: tokens.slice(1).map(() => 1) }));

const goldenFolder = join(import.meta.dirname, '../../../goldens/speculative');
const readGolden = () => JSON.parse(readFileSync(join(goldenFolder, 'expected.json'), 'utf8'));

describe('EAGLE', () => {
  interface Golden {
    readonly head: number[][];
    readonly hidden: number[][][];
    readonly tokens: number[][];
    readonly learnt: number[][];
    readonly weight: number;
    readonly regression: number;
    readonly classification: number;
    readonly loss: number;
    readonly gradients: Record<string, number[] | number[][]>;
  }

  it('has the loss and the gradients of torch', async () => {
    const golden: Golden = readGolden().eagle;
    const head = await EagleHead.load(join(goldenFolder, 'eagle'));
    const hidden = tensor(Float32Array.from(golden.hidden.flat(2)), [2, 6, 8]);
    const tokens = tensor(Int32Array.from(golden.tokens.flatMap((row) => row.slice(1))), [2, 5]);
    const learnt = tensor(Float32Array.from(golden.learnt.flat()));
    const output = { matrix: tensor(Float32Array.from(golden.head.flat()), [11, 8]), softCap: undefined };
    const flat = (states: Tensor) => states.reshape([10, 8]);
    const lossOf = (weights: typeof head.weights) => {
      const states = eagleStates(head, weights, tokens, hidden.slice(1, 0, 5));
      return eagleLoss(flat(states), flat(hidden.slice(1, 1)), learnt, output, { classificationWeight: golden.weight });
    };
    const { regression, classification } = lossOf(head.weights);
    expect(await regression.item()).toBeCloseTo(golden.regression, 5);
    expect(await classification.item()).toBeCloseTo(golden.classification, 4);
    const { value, gradient } = valueAndGrad((weights: typeof head.weights) => lossOf(weights).loss)(head.weights);
    expect(await value.item()).toBeCloseTo(golden.loss, 5);
    for (const [name, wanted] of Object.entries(golden.gradients)) {
      expectClose(await gradient[name]!.toArray(), wanted.flat(), 1e-5);
    }
  });

  it('is least where the features are the model’s, at the entropy of what it says', async () => {
    const features = tensor(Float32Array.of(0.3, -1, 2, 0.5), [2, 2]);
    const output = { matrix: tensor(Float32Array.of(1, 0, 0, 1, -1, 1), [3, 2]), softCap: undefined };
    const of = (states: Tensor) => eagleLoss(states, features, tensor(Float32Array.of(1, 1)), output);
    const entropy = [
      [0.3, -1, -1.3],
      [2, 0.5, -1.5],
    ].map((logits) => {
      const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
      return -logits.reduce((sum, z) => sum + (Math.exp(z) / total) * (z - Math.log(total)), 0);
    });
    const { regression, classification } = of(features);
    expect(await regression.item()).toBe(0);
    expect(await classification.item()).toBeCloseTo((entropy[0]! + entropy[1]!) / 2, 5);
    const { gradient } = valueAndGrad((states: Tensor) => of(states).loss)(features);
    expectClose(await gradient.toArray(), [0, 0, 0, 0], 1e-6);
  });

  it('a head that was trained on the model’s answers has more of its guesses kept', async () => {
    const model = await walker(1);
    const answered = rowsOf((await answersOf(model, 0, 40)).tokens);
    const initial = await EagleHead.initialize(model);
    const options = { steps: 30, batchSize: 40, learningRate: 0.01, noise: 0.05 };
    const { head, losses } = await trainEagleHead(model, initial, answered, options);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 1.5);
    const rateOf = async (eagle: EagleHead) => (await answersOf(model, 20, 20, { eagle, tokens: 3 })).rate!;
    expect((await rateOf(head)) - (await rateOf(initial))).toBeGreaterThan(0.5);
  });

  it('leaves out rows from which no feature can be learnt, and refuses where none is left', async () => {
    const model = await tinyModel('llama', 1);
    const head = await EagleHead.initialize(model);
    const short = { tokens: [1, 2], weights: [1] };
    const train = trainEagleHead(model, head, [short], { steps: 1 });
    await expect(train).rejects.toThrow(/none of 1 rows has a learnt token behind its second; .* weight 0/);
    const rows = [{ tokens: [1], weights: [] }, short, { tokens: [1, 2, 3], weights: [0, 1] }];
    const options = { steps: 1, batchSize: 1, noise: 0 };
    const { dropped, losses } = await trainEagleHead(model, head, rows, options);
    expect(dropped).toBe(2);
    expect(losses).toEqual((await trainEagleHead(model, head, rows.slice(2), options)).losses);
    const steep = (steps: number) => trainEagleHead(model, head, rows, { ...options, steps, learningRate: 1e38 });
    await expect(steep(3)).rejects.toThrow(/trainEagleHead, step [12]: the loss is |ended with the value/);
  });
});

describe('Medusa', () => {
  interface Golden {
    readonly hidden: number[][][];
    readonly labels: number[][];
    readonly decay: number;
    readonly losses: number[];
    readonly loss: number;
    readonly gradients: Record<string, number[] | number[][]>;
  }
  const golden: Golden = readGolden().medusa;

  it('has the loss and the gradients of torch', async () => {
    const heads = await MedusaHeads.load(join(goldenFolder, 'medusa'));
    const hidden = tensor(Float32Array.from(golden.hidden.flat(2)), [2, 9, 4]);
    const labels = tensor(Int32Array.from(golden.labels.flat()), [2, 9]);
    const { losses } = medusaLoss(heads.weights, hidden, labels, heads, { decay: golden.decay });
    for (const [k, loss] of losses.entries()) expect(await loss.item()).toBeCloseTo(golden.losses[k]!, 5);
    const { value, gradient } = valueAndGrad((weights: typeof heads.weights) => {
      return medusaLoss(weights, hidden, labels, heads, { decay: golden.decay }).loss;
    })(heads.weights);
    expect(await value.item()).toBeCloseTo(golden.loss, 5);
    for (const [name, wanted] of Object.entries(golden.gradients)) {
      expectClose(await gradient[name]!.toArray(), wanted.flat(), 1e-5);
    }
  });

  it('heads that were trained on the model’s answers have more of their guesses kept', async () => {
    const gains: number[] = [];
    for (const seed of [1, 2, 3]) {
      const model = await walker(seed);
      const answered = rowsOf((await answersOf(model, 0, 20)).tokens);
      const initial = MedusaHeads.initialize(model, { medusaNumHeads: 2 });
      const options = { steps: 25, batchSize: 20, learningRate: 0.05 };
      const { heads, losses } = await trainMedusaHeads(model, initial, answered, options);
      expect(losses.at(-1)!).toBeLessThan(losses[0]! / 2);
      // The control: the same training on tokens that are not what the model goes on with.
      const others = answered.map((row, i) => ({ ...row, tokens: row.tokens.map((token) => (token * (3 + i)) % 40) }));
      const control = await trainMedusaHeads(model, initial, others, options);
      const rates: number[] = [];
      for (const medusa of [heads, initial, control.heads]) {
        rates.push((await answersOf(model, 20, 20, { medusa, choices: [[0], [0, 0]] })).rate!);
      }
      gains.push(rates[0]! - Math.max(rates[1]!, rates[2]!));
    }
    const mean = gains.reduce((a, b) => a + b) / 3;
    const deviation = Math.sqrt(gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0) / 2);
    // The 95 % interval of the mean, by Student's t with two degrees of freedom.
    expect(mean - 4.303 * (deviation / Math.sqrt(3))).toBeGreaterThan(0.3);
  });

  it('leaves out rows that are too short for its last head, and refuses where none is left', async () => {
    const model = await tinyModel('llama', 1);
    const heads = MedusaHeads.initialize(model, { medusaNumHeads: 3 });
    const short = { tokens: [1, 2, 3], weights: [1, 1] };
    const train = trainMedusaHeads(model, heads, [short], { steps: 1 });
    await expect(train).rejects.toThrow(/none of 1 rows has a learnt token for the last head; .* at least 4 places/);
    // A short answer behind its prompt.
    const rows = [short, { tokens: [7, 8, 9, 1, 2], weights: [0, 0, 0, 1] }];
    const { dropped, losses } = await trainMedusaHeads(model, heads, rows, { steps: 1, batchSize: 1 });
    expect(dropped).toBe(1);
    expect(losses).toEqual((await trainMedusaHeads(model, heads, rows.slice(1), { steps: 1, batchSize: 1 })).losses);
    const steep = trainMedusaHeads(model, heads, rows, { steps: 4, batchSize: 1, learningRate: 1e38 });
    await expect(steep).rejects.toThrow(/trainMedusaHeads, step [123]: the loss is |ended with the value/);
  });
});
