import { type Engine, Key, referenceEngine, tensor } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { type CausalLM, ModelRunner } from '@posttrain/lm';
import { describe, expect, it } from 'vitest';
import {
  boft,
  c3a,
  createAdapter,
  fourierFt,
  hra,
  type LoraConfig,
  loha,
  lora,
  mergeAdapter,
  oft,
  type PeftAdapter,
  prefixTuning,
  randLora,
  shira,
  tinyLora,
  vbLora,
  waveFt,
  withAdapterParameters,
} from '../src/index.js';
import { TINY_MODEL_TYPES, tinyModel } from '../src/testing/tiny-model.js';

/** With numbers that are nowhere zero. */
async function randomAdapter(model: CausalLM, config: Partial<LoraConfig>, seed: number) {
  const adapter = await createAdapter(model, lora, { targetModules: 'all-linear', initLoraWeights: false, ...config });
  const parameters = Object.entries(adapter.parameters).map(([name, { size, shape }], i) => {
    const numbers = Key.fromSeed(seed).child(i).uniformHost(size);
    return [
      name,
      tensor(
        Float32Array.from(numbers, (x) => x - 0.3),
        shape,
      ),
    ] as const;
  });
  return withAdapterParameters(adapter, Object.fromEntries(parameters));
}

async function logitsAfter(model: CausalLM, tokens: readonly number[]): Promise<number[]> {
  const runner = new ModelRunner(model);
  const [result] = await runner.extend([{ sequence: runner.start(), tokens }]);
  return [...result!.logits[0]!];
}

describe.each(TINY_MODEL_TYPES)('rows of one pass over %s', (modelType) => {
  it('have what the models have that their adapters are merged into', () =>
    onEngine(referenceEngine(), async () => {
      const model = await tinyModel(modelType);
      const isTied = model.config.tieWordEmbeddings;
      const linear = modelType === 'gpt2' ? 'c_proj' : 'down_proj';
      const configs: Partial<LoraConfig>[] = [
        { r: 2 },
        { r: 3, useRslora: true, targetModules: [linear], alphaPattern: { [linear]: 5 } },
        { r: 2, useDora: true },
        { r: 1, modulesToSave: isTied ? [] : ['lm_head'] },
        { r: 2, bias: modelType === 'llama' ? 'none' : 'lora_only' },
      ];
      const adapters = await Promise.all(configs.map((config, i) => randomAdapter(model, config, i)));
      expect(adapters.map(({ lowRank }) => lowRank !== undefined)).toEqual([
        true,
        true,
        false,
        isTied,
        modelType === 'llama',
      ]);
      const tokens = [...adapters, undefined].map((_, i) => [3, 1 + i, 4, 1, 5].slice(0, 2 + (i % 4)));
      const runner = new ModelRunner(model);
      const results = await runner.extend(
        tokens.map((row, i) => ({
          sequence: runner.start(),
          tokens: row,
          ...(adapters[i] && { adapter: adapters[i] }),
        })),
      );
      for (const [i, { logits }] of results.entries()) {
        const merged = adapters[i] ? (await mergeAdapter(model, adapters[i])).model : model;
        const expected = await logitsAfter(merged, tokens[i]!);
        expect(Math.max(...expected.map((x, v) => Math.abs(x - logits[0]![v]!)))).toBeLessThan(1e-4);
      }
    }));
});

/** Logits of all steps of some rows, which are one pass, by row. */
async function stepsOf(
  model: CausalLM,
  adapters: readonly (PeftAdapter | undefined)[],
  steps: readonly (readonly number[])[],
  runner = new ModelRunner(model, { prefixReuse: false }),
): Promise<number[][]> {
  const rows = adapters.map((adapter) => ({ sequence: runner.start(), ...(adapter && { adapter }) }));
  const logits = rows.map((): number[] => []);
  for (const tokens of steps) {
    const results = await runner.extend(rows.map((row) => ({ ...row, tokens })));
    for (const [i, { logits: last }] of results.entries()) logits[i]!.push(...last[0]!);
  }
  for (const { sequence } of rows) runner.release(sequence);
  return logits;
}

const STEPS = [[3, 1, 4, 1, 5], [9], [2], [6]];
const furthest = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));

/** An adapter over q_proj and down_proj that counts how often it is derived. */
async function counted(model: CausalLM, method: object, config: object, seed = 1) {
  const given = { targetModules: ['q_proj', 'down_proj'], ...config };
  const made: PeftAdapter = await createAdapter(model, method as never, given as never, { seed });
  const times = { value: 0 };
  const derived: PeftAdapter['derived'] = (...parts) => {
    times.value++;
    return made.derived!(...parts);
  };
  const plain = { ...made, derived: undefined } as never as PeftAdapter;
  return { adapter: { ...made, derived }, plain, times };
}

it.each([
  ['OFT', oft, { oftBlockSize: 4, initWeights: false }],
  ['BOFT', boft, { boftBlockSize: 4, boftNButterflyFactor: 2, initWeights: false }],
  ['HRA', hra, { r: 4, initWeights: false }],
  ['HRA with Gram and Schmidt', hra, { r: 3, applyGS: true, initWeights: false }],
  ['C3A', c3a, { blockSize: 8, initWeights: false }],
  ['FourierFT', fourierFt, { nFrequency: 100, initWeights: false }],
  ['WaveFT', waveFt, { nFrequency: 100, initWeights: false }],
  ['SHiRA', shira, { r: 2, initWeights: false }],
  ['LoHa', loha, { r: 2, initWeights: false }],
  ['RandLoRA', randLora, { r: 4, initWeights: false }],
  ['VB-LoRA', vbLora, { vectorLength: 8, numVectors: 6 }],
  ['TinyLoRA', tinyLora, { r: 2, u: 5, initWeights: 'uniform', initVBound: 1 }],
  ['DoRA', lora, { r: 2, useDora: true, initLoraWeights: false }],
] as const)(
  'what %s makes of its numbers and of the model alone is made once an adapter, and changes nothing',
  (_, method, config) =>
    onEngine(referenceEngine(), async () => {
      const model = await tinyModel('llama');
      const { adapter, plain, times } = await counted(model, method, config);
      const [expected] = await stepsOf(model, [plain], STEPS);
      const runner = new ModelRunner(model, { prefixReuse: false });
      const [alone] = await stepsOf(model, [adapter], STEPS, runner);
      const other = await randomAdapter(model, { r: 2 }, 1);
      const mixed = await stepsOf(model, [undefined, adapter, other, adapter], STEPS, runner);
      expect(times.value).toBe(1);
      for (const own of [alone!, mixed[1]!, mixed[3]!]) expect(furthest(own, expected!)).toBeLessThan(1e-5);
      const [base] = await stepsOf(model, [undefined], STEPS);
      expect(furthest(expected!, base!)).toBeGreaterThan(1e-3);
      // Other numbers are another adapter.
      const numbers = Object.entries(adapter.parameters).map(([name, x]) => [name, x.mul(x).add(0.1)] as const);
      const [changed, as] = [adapter, plain].map((one) => withAdapterParameters(one, Object.fromEntries(numbers)));
      const [[own], [afresh]] = [await stepsOf(model, [changed], STEPS, runner), await stepsOf(model, [as], STEPS)];
      expect(furthest(own!, afresh!)).toBeLessThan(1e-5);
      expect(furthest(own!, expected!)).toBeGreaterThan(1e-3);
      expect(times.value).toBe(2);
    }),
);

it('what is made of an adapter is made again for other weights, and is kept for eight adapters', () =>
  onEngine(referenceEngine(), async () => {
    const model = await tinyModel('llama');
    const all = await Promise.all(
      Array.from({ length: 9 }, (_, i) => counted(model, lora, { r: 2, useDora: true, initLoraWeights: false }, i)),
    );
    const [first, ...others] = all as [(typeof all)[0], ...typeof all];
    const runner = new ModelRunner(model, { prefixReuse: false });
    const step = async ({ adapter }: typeof first) => (await stepsOf(model, [adapter], [[3]], runner))[0]!;
    const before = await step(first);
    for (const one of others.slice(1)) await step(one);
    expect(await step(first)).toEqual(before);
    expect(first.times.value).toBe(1);
    // The ninth takes the place of who was used longest ago.
    await step(others[0]!);
    for (const one of [first, ...others.slice(2)]) await step(one);
    await step(others[1]!);
    expect(all.map(({ times }) => times.value)).toEqual([1, 1, 2, 1, 1, 1, 1, 1, 1]);
    const weights = Object.fromEntries(Object.entries(model.weights).map(([name, x]) => [name, x.mul(1.5)]));
    runner.reset(weights);
    const after = await step(first);
    expect(first.times.value).toBe(2);
    const fresh = new ModelRunner({ ...model, weights } as never, { prefixReuse: false });
    const [expected] = await stepsOf(model, [first.plain], [[3]], fresh);
    expect(furthest(after, expected!)).toBeLessThan(1e-5);
  }));

it('what is made of an adapter goes when the adapter is forgotten, which others notice nothing of', () =>
  onEngine(referenceEngine(), async () => {
    const model = await tinyModel('llama');
    const config = { r: 2, useDora: true, initLoraWeights: false };
    const [one, other] = [await counted(model, lora, config, 1), await counted(model, lora, config, 2)];
    const runner = new ModelRunner(model, { prefixReuse: false });
    const both = () => stepsOf(model, [one.adapter, other.adapter], STEPS, runner);
    const before = await both();
    await runner.forget(one.adapter);
    expect(await both()).toEqual(before);
    expect([one.times.value, other.times.value]).toEqual([2, 1]);
  }));

it.each(['lora_A', 'lora_B'])(
  'a LoRA adapter with NaN in %s reaches no row but its own, nor who has its blocks after it',
  (part) =>
    onEngine(referenceEngine(), async () => {
      const model = await tinyModel('llama');
      const [ann, bob] = await Promise.all([1, 2].map((seed) => randomAdapter(model, { r: 2 }, seed)));
      const broken = Object.entries(ann!.parameters).map(
        ([name, x], i) => [name, i < 2 && name.includes(part) ? x.mul(Number.NaN) : x] as const,
      );
      expect(broken.some(([name, x]) => x !== ann!.parameters[name])).toBe(true);
      const nan = withAdapterParameters(ann!, Object.fromEntries(broken));
      const expected = [await stepsOf(model, [bob], STEPS), await stepsOf(model, [undefined], STEPS)].map(
        ([row]) => row!,
      );
      const runner = new ModelRunner(model, { prefixReuse: false });
      // Ann is there before it breaks, so that there is a stack that she is in.
      await stepsOf(model, [bob, ann, undefined], STEPS, runner);
      for (let turn = 0; turn < 2; turn++) {
        const rows = await stepsOf(model, turn === 0 ? [bob, nan, undefined] : [nan, undefined, bob], STEPS, runner);
        const own = turn === 0 ? rows : [rows[2]!, rows[0]!, rows[1]!];
        expect(own[1]!.every(Number.isNaN)).toBe(true);
        expect(furthest(own[0]!, expected[0]!)).toBeLessThan(1e-5);
        expect(furthest(own[2]!, expected[1]!)).toBeLessThan(1e-5);
      }
      // In the blocks that were the broken row's.
      for (const adapter of [bob, undefined]) {
        const after = await stepsOf(model, [adapter, adapter, adapter], [[3], [1]], runner);
        expect(after.flat().every(Number.isFinite)).toBe(true);
      }
    }),
);

it('a prefix is computed once for all rows and requests, which share its block', async () => {
  const engine = referenceEngine();
  let runs = 0;
  const counted: Engine = {
    ...engine,
    async compile(graph, options) {
      const executable = await engine.compile(graph, options);
      return {
        dispose: () => executable.dispose(),
        run(inputs) {
          runs++;
          return executable.run(inputs);
        },
      };
    },
  };
  await onEngine(counted, async () => {
    const model = await tinyModel('llama');
    const adapter = await createAdapter(model, prefixTuning, { numVirtualTokens: 16 });
    /** What two requests of four rows with five tokens take: runs of the engine, and tokens of the cache in whole blocks. */
    const requests = async (own?: PeftAdapter) => {
      const runner = new ModelRunner(model);
      const taken: { runs: number; held: number }[] = [];
      for (const first of [10, 20]) {
        const [before, free] = [runs, runner.freeTokens];
        const rows = Array.from({ length: 4 }, (_, i) => ({
          sequence: runner.start(),
          tokens: [first + i, 1, 2, 3, 4],
        }));
        await runner.extend(rows.map((row) => ({ ...row, ...(own && { adapter: own }) })));
        taken.push({ runs: runs - before, held: free - runner.freeTokens });
        for (const { sequence } of rows) runner.release(sequence);
      }
      return taken;
    };
    const [first, second] = (await requests()) as [{ runs: number; held: number }, { runs: number; held: number }];
    expect([first.held, second.held]).toEqual([4 * 16, 4 * 16]);
    const own = await requests(adapter);
    expect(own.map(({ held }) => held)).toEqual([5 * 16, 5 * 16]);
    // Not once a row; and not again.
    expect(own[0]!.runs).toBeLessThan(first.runs + 4);
    expect(own[1]!.runs).toBe(second.runs);
  });
});
