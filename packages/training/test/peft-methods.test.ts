import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { softmax, tensor } from '@posttrain/core-tensor';
import { type Completion, number } from '@posttrain/interfaces';
import { applyLinear, LocalGenerator, sequenceLogProbs } from '@posttrain/lm';
import {
  adaLora,
  createAdapter,
  houlsby,
  ia3,
  lnTuning,
  loadAdapter,
  lora,
  methodOptions,
  NO_PLAN,
  type PeftAdapter,
  type PeftMethod,
  prefixTuning,
  promptTuning,
  vera,
} from '@posttrain/peft';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import { type SftOptions, sft } from '../src/index.js';
import { countingRows } from './sft-run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'peft-methods-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const model = tinyModel('llama');
const STEPS = 24;

/** Each with a learning rate at which so small a run learns. */
const METHODS: Readonly<Record<string, readonly [learningRate: number, make: () => Promise<PeftAdapter>]>> = {
  VeRA: [0.1, async () => createAdapter(await model, vera, { r: 16, targetModules: 'all-linear' })],
  '(IA)³': [0.1, async () => createAdapter(await model, ia3, { targetModules: 'all-linear' })],
  'LN-tuning': [0.1, async () => createAdapter(await model, lnTuning)],
  'prompt tuning': [0.1, async () => createAdapter(await model, promptTuning, { numVirtualTokens: 8 })],
  'prefix tuning': [0.1, async () => createAdapter(await model, prefixTuning, { numVirtualTokens: 8 })],
  'Houlsby adapters': [0.03, async () => createAdapter(await model, houlsby, { bottleneckSize: 8 })],
  PiSSA: [
    0.01,
    async () => createAdapter(await model, lora, { r: 4, initLoraWeights: 'pissa', targetModules: 'all-linear' }),
  ],
  AdaLoRA: [
    0.03,
    async () =>
      createAdapter(await model, adaLora, {
        ...{
          initR: 6,
          targetR: 3,
          tinit: 4,
          tfinal: 6,
          totalStep: STEPS,
          targetModules: 'all-linear',
          orthRegWeight: 0.1,
        },
      }),
  ],
};

const run = async (learningRate: number, adapter: PeftAdapter, options: Partial<SftOptions> = {}) =>
  sft({
    model: await model,
    adapter,
    rows: countingRows,
    ...{ batchSize: 4, learningRate, steps: STEPS, loggingSteps: 1, schedule: 'constant', seed: 3 },
    ...options,
  });

const valuesOf = (adapter: { readonly parameters: unknown }) =>
  Promise.all(
    Object.entries(adapter.parameters as PeftAdapter['parameters']).map(async ([name, x]) => [name, await x.toArray()]),
  );

describe.each(Object.entries(METHODS))('%s in sft', (name, [learningRate, make]) => {
  it('learns; a run that was stopped goes on to the same numbers; what it saved computes the same', async () => {
    const outputFolder = join(folder, name);
    const whole = await run(learningRate, await make());
    const losses = whole.history.map(({ metrics }) => metrics.loss!);
    const mean = (part: readonly number[]) => part.reduce((sum, loss) => sum + loss, 0) / part.length;
    expect(mean(losses.slice(-3))).toBeLessThan(mean(losses.slice(0, 3)) - 0.1);

    await run(learningRate, await make(), { outputFolder, saveSteps: STEPS / 2 });
    await rm(join(outputFolder, `checkpoint-${STEPS}`), { recursive: true });
    const resumed = await run(learningRate, await make(), { outputFolder, saveSteps: STEPS / 2, resume: true });
    expect(await valuesOf(resumed.adapter!)).toEqual(await valuesOf(whole.adapter!));

    const saved = join(outputFolder, 'saved');
    await whole.adapter!.save(saved, whole.trainer.parameters);
    const loaded = await loadAdapter(await model, saved);
    const rows = [[3, 4, 5, 6, 7]];
    const [[ours], [theirs]] = (await Promise.all(
      [whole.adapter!, loaded].map((adapter) => model.then((base) => sequenceLogProbs(base, rows, { adapter }))),
    )) as [Awaited<ReturnType<typeof sequenceLogProbs>>, Awaited<ReturnType<typeof sequenceLogProbs>>];
    ours!.logProbs.forEach((x, i) => {
      expect(Math.abs(x - theirs!.logProbs[i]!)).toBeLessThan(1e-4);
    });
  });
});

describe('the ways a pass is computed', () => {
  it.each(Object.entries(METHODS))('change nothing of %s but rounding', async (_, [learningRate, make]) => {
    const of = async (options: Partial<SftOptions>) => {
      const { history } = await run(learningRate, await make(), { steps: 2, ...options });
      return history.map(({ metrics }) => metrics.loss!);
    };
    const plain = await of({});
    for (const [options, tolerance] of [
      [{ gradientCheckpointing: true }, 1e-5],
      [{ fp16: true }, 0.05],
    ] as const) {
      const losses = await of(options);
      losses.forEach((loss, i) => {
        expect(Math.abs(loss - plain[i]!)).toBeLessThan(tolerance);
      });
    }
  });
});

/** A method of somebody else: two scalings of every sublayer, mixed token by token by what an earlier pass has seen. */
const routed: PeftMethod<{ readonly start: number }> = {
  peftType: 'ROUTED',
  options: methodOptions('ROUTED', { start: number({ default: 0.1 }) }),
  earlierPass: () => true,
  fileDefaults: {},
  plan: (_, config) => ({ config, plan: NO_PLAN, skipped: [] }),
  init: ({ config, model: { hiddenSize } }, _, key) => ({
    trained: {
      router: tensor(key.normalHost(2 * hiddenSize), [2, hiddenSize]),
      scales: tensor(
        key
          .child(0)
          .normalHost(2 * hiddenSize)
          .map((x) => config.start * x),
        [2, hiddenSize],
      ),
    },
    frozen: {},
  }),
  hooks: (_, { trained }) => ({
    earlier: {
      hooks: {},
      hooksAfter(hidden) {
        const mixture = softmax(applyLinear(hidden, trained.router!, undefined, false));
        const scale = applyLinear(mixture, trained.scales!.transpose(), undefined, false).add(1);
        return { sublayer: (output) => output.mul(scale) };
      },
    },
  }),
};

describe('a method with an earlier pass', () => {
  it('is trained, scores, and generates what it scores', async () => {
    const base = await model;
    const { history, adapter } = await run(0.1, await createAdapter(base, routed));
    const losses = history.map(({ metrics }) => metrics.loss!);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.1);
    const generator = new LocalGenerator(base, { adapter: () => adapter! });
    const request = { prompt: { tokenIds: [3, 4] }, maxTokens: 6, logProbs: true };
    const [[completion]] = (await generator.generate([request])) as [[Completion]];
    const tokens = [3, 4, ...completion!.tokenIds!];
    const [scored] = await sequenceLogProbs(base, [tokens], { adapter: adapter! });
    for (const [i, logProb] of completion!.logProbs!.entries())
      expect(logProb).toBeCloseTo(scored!.logProbs[i + 1]!, 4);
  });
});

describe('a trained adapter', () => {
  it('generates with its virtual tokens what it scores', async () => {
    const [learningRate, make] = METHODS['prefix tuning']!;
    const { adapter } = await run(learningRate, await make());
    const base = await model;
    const generator = new LocalGenerator(base, { adapter: () => adapter! });
    const requests = [
      [3, 4],
      [9, 10, 11],
    ].map((tokenIds) => ({ prompt: { tokenIds }, maxTokens: 8, temperature: 0, logProbs: true }));
    const completions = await generator.generate(requests);
    for (const [i, [completion]] of completions.entries()) {
      const { tokenIds } = requests[i]!.prompt;
      const [scored] = await sequenceLogProbs(base, [[...tokenIds, ...completion!.tokenIds!]], { adapter: adapter! });
      completion!.logProbs!.forEach((logProb, t) => {
        expect(Math.abs(logProb - scored!.logProbs[tokenIds.length - 1 + t]!)).toBeLessThan(1e-4);
      });
    }
  });

  it('of AdaLoRA has the ranks of its budget', async () => {
    const [learningRate, make] = METHODS.AdaLoRA!;
    const { adapter } = await run(learningRate, await make());
    const values = await valuesOf(adapter!);
    const kept = values.filter(([key]) => String(key).endsWith('lora_E')).flatMap(([, e]) => e as number[]);
    expect(kept.filter((value) => value !== 0)).toHaveLength(kept.length / 2);
  });

  it('has its penalty once a step, however the step is cut into passes', async () => {
    const [learningRate, make] = METHODS.AdaLoRA!;
    const of = async (maxTokensPerPass: number) => {
      const { history } = await run(learningRate, await make(), { steps: 2, maxTokensPerPass });
      return history.map(({ metrics }) => metrics.loss!);
    };
    const [whole, cut] = [await of(4096), await of(16)];
    whole.forEach((loss, i) => {
      expect(Math.abs(loss - cut[i]!)).toBeLessThan(1e-4);
    });
  });

  it('leaves room for virtual tokens in the context', async () => {
    const ids = Array.from({ length: 30 }, (_, i) => i);
    const adapter = await createAdapter(await model, promptTuning, { numVirtualTokens: 8 });
    const rows = [{ input_ids: ids, labels: ids }];
    await expect(run(0.1, adapter, { rows, maxLength: 32 })).rejects.toThrow(/30 tokens.*24|24/);
  });
});
