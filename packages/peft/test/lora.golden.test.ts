import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Key,
  normal,
  realize,
  referenceEngine,
  setEngine,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
} from '@posttrain/core-tensor';
import { openSafetensors, type SafetensorsFile } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { Named } from '@posttrain/core-tensor/optim';
import { onEngine } from '@posttrain/core-tensor/testing';
import type { CausalLM, LayerHooks } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { trainsCopies } from '../src/adapters/whole-modules.js';
import {
  createAdapter,
  type LoraConfig,
  loadAdapter,
  lora,
  mergeAdapter,
  type PeftAdapter,
  saveAdapter,
  stackAdapters,
  unmergeAdapter,
  withAdapterParameters,
} from '../src/index.js';
import { baseOf, expectClose, folderOf, goldens, inputOf, numbers } from './golden-model.js';

const folders = (await readdir(join(goldens, 'lora'), { withFileTypes: true }))
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

interface Expected {
  readonly base: string;
  readonly loss: number;
  readonly merged_parameters?: readonly string[];
  readonly merge_error?: string;
}

function logitsOf(model: CausalLM, input: ReturnType<typeof inputOf>, hooks: LayerHooks): Tensor {
  const hidden = model.network.hidden(model.weights, input, hooks);
  const [b, s, d] = hidden.shape as [number, number, number];
  return model.network.logits(model.weights, hidden.reshape([b * s, d]), hooks);
}

/** Mean of -log p over labels ≠ -100. */
function lossOf(
  model: CausalLM,
  input: ReturnType<typeof inputOf>,
  labels: readonly number[],
  hooks: LayerHooks,
): Tensor {
  const [b, s] = input.tokens.shape as [number, number];
  const hidden = model.network.hidden(model.weights, input, hooks).slice(1, 0, s - 1);
  const states = hidden.reshape([b * (s - 1), hidden.shape[2]!]);
  const shifted = labels.filter((_, i) => i % s !== 0);
  const targets = tensor(
    Int32Array.from(shifted, (label) => Math.max(label, 0)),
    [shifted.length],
    'int32',
  );
  const counted = tensor(Float32Array.from(shifted, (label) => (label === -100 ? 0 : 1)));
  const softCap = { softCap: model.network.logitSoftCap };
  const { logProbs } = tokenLogProbs(states, model.network.head(model.weights, hooks), targets, softCap);
  return logProbs.mul(counted).sum().neg().div(counted.sum());
}

beforeAll(() => setEngine(referenceEngine()));

describe.each(folders)('PEFT adapter %s', (name) => {
  const folder = join(goldens, 'lora', name);
  let expected: Expected;
  let base: CausalLM;
  let adapter: PeftAdapter;
  let file: SafetensorsFile;
  let input: ReturnType<typeof inputOf>;
  let labels: number[];

  beforeAll(async () => {
    expected = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8')) as Expected;
    base = await baseOf(expected.base);
    adapter = await loadAdapter(base, folder);
    file = await openSafetensors(join(folder, 'expected.safetensors'));
    const inputs = await openSafetensors(join(goldens, folderOf(expected.base), 'expected.safetensors'));
    input = inputOf(await numbers(inputs, 'batch.input_ids'), [2, 10]);
    labels = await numbers(inputs, 'batch.labels');
    await inputs.close();
    return () => file.close();
  });

  it('gives the same logits', async () => {
    const logits = await logitsOf(base, input, adapter.hooks(adapter.parameters)).toArray();
    expectClose(logits, await numbers(file, 'logits'), 1e-4);
  });

  it('gives the same logits on ONNX Runtime', async () => {
    const logits = await onEngine(onnxruntimeEngine(), () =>
      logitsOf(base, input, adapter.hooks(adapter.parameters)).toArray(),
    );
    expectClose(logits, await numbers(file, 'logits'), 1e-4);
  });

  it('has the same loss and gradients', async () => {
    // The reference engine takes its time over experts.
    const engine = expected.base.includes('experts') ? onnxruntimeEngine() : referenceEngine();
    const { value, gradient } = valueAndGrad((parameters: Named) =>
      lossOf(base, input, labels, adapter.hooks(parameters)),
    )(adapter.parameters);
    await realize([value, ...Object.values(gradient as Named)], { engine });
    expect(Math.abs((await value.item()) - expected.loss)).toBeLessThan(1e-5);
    const prefix = 'gradient.base_model.model.';
    const keys = [...file.tensors.keys()].filter((key) => key.startsWith(prefix));
    expect(keys.map((key) => key.slice(prefix.length)).sort()).toEqual(Object.keys(adapter.parameters).sort());
    for (const key of keys) {
      expectClose(await (gradient as Named)[key.slice(prefix.length)]!.toArray(), await numbers(file, key), 1e-5);
    }
  });

  it('is merged to the same weights', async () => {
    if (expected.merge_error !== undefined) {
      await expect(mergeAdapter(base, adapter)).rejects.toThrow(/has no bias/);
      return;
    }
    const { model, drift } = await mergeAdapter(base, adapter, { keepBase: false });
    expect(drift).toBeLessThan(1e-5);
    const keys = [...file.tensors.keys()].filter((key) => key.startsWith('merged.'));
    for (const key of keys) {
      expectClose(await model.weights[key.slice('merged.'.length)]!.toArray(), await numbers(file, key), 2e-6);
    }
    const changed = Object.keys(model.weights).filter((key) => model.weights[key] !== base.weights[key]);
    expect(changed.sort()).toEqual([...expected.merged_parameters!].sort());
    const replaced = trainsCopies(adapter.plan) || name.endsWith('dora');
    if (replaced) return await expect(unmergeAdapter(model, adapter)).rejects.toThrow(/Keep the base model/);
    const restored = await unmergeAdapter(model, adapter);
    for (const key of changed) {
      expectClose(await restored.weights[key]!.toArray(), await base.weights[key]!.toArray(), 1e-6);
    }
  });

  it('is written as PEFT wrote it, byte for byte', async () => {
    const out = await mkdtemp(join(tmpdir(), 'peft-'));
    try {
      await saveAdapter(out, adapter);
      expect((await readdir(out)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
      for (const written of await readdir(out)) {
        const [ours, theirs] = await Promise.all([readFile(join(out, written)), readFile(join(folder, written))]);
        if (written.endsWith('.json')) expect(JSON.parse(ours.toString())).toEqual(JSON.parse(theirs.toString()));
        else expect(ours.equals(theirs)).toBe(true);
      }
    } finally {
      await rm(out, { recursive: true });
    }
  });
});

describe('targetParameters', () => {
  const moe = baseOf('mixture-of-experts/qwen3-moe');
  const targetParameters = ['experts.gate_up_proj', 'experts.down_proj'];

  it('change each expert by its own part of the factors, by hand, and start as the base', async () => {
    const base = await moe;
    const made = await createAdapter(base, lora, { r: 2, loraAlpha: 6, targetParameters }, { seed: 2 });
    expect(made.config.targetModules).toEqual([]);
    expect(made.report.matched).toContain('model.layers.2.mlp.experts.5.up_proj');
    const [inner, outer] = ['base_layer.lora', 'lora'].map((name) => `model.layers.0.mlp.experts.${name}`);
    expect(made.parameters[`${inner}_B.weight`]!.shape).toEqual([24, 12]);
    expect(new Set(await made.parameters[`${outer}_B.weight`]!.toArray())).toEqual(new Set([0]));
    const moved = Object.entries(made.parameters).map(([name, x]) => [
      name,
      normal(Key.fromSeed(name.length).toTensor(), x.shape),
    ]);
    const adapter = withAdapterParameters(made, Object.fromEntries(moved) as Named);
    const { model } = await mergeAdapter(base, adapter);
    const [a, b] = await Promise.all(['A', 'B'].map((f) => adapter.parameters[`${inner}_${f}.weight`]!.toArray()));
    // Experts 6, rank 2, width 16; 12 outputs of the gate, then 12 of the up projection. B has the expert last, A first.
    for (const [projection, from] of [
      ['gate_proj', 0],
      ['up_proj', 12],
    ] as const) {
      // biome-ignore format: pairs
      const key = `model.layers.0.mlp.experts.4.${projection}.weight`;
      const [before, after] = [await base.weights[key]!.toArray(), await model.weights[key]!.toArray()];
      const change = after.map((x, i) => x - before[i]!);
      const expected = change.map((_, at) => {
        const [o, i] = [from + Math.floor(at / 16), at % 16];
        return 3 * [0, 1].reduce((sum, r) => sum + b![o * 12 + r * 6 + 4]! * a![(4 * 2 + r) * 16 + i]!, 0);
      });
      expectClose(change, expected, 1e-5);
    }
  });

  it.each<[Partial<LoraConfig>, RegExp]>([
    [{ targetParameters: ['experts.gate_up'] }, /"experts.gate_up" is no weight of experts.*experts.gate_up_proj/],
    [{ targetParameters, loraDropout: 0.1 }, /without loraDropout, loraBias, useDora/],
    [{ targetParameters, initLoraWeights: 'pissa' }, /with initLoraWeights true, false or "gaussian"/],
    [{ targetParameters, targetModules: ['up_proj'] }, /which targetModules or modulesToSave has already/],
  ])('refuse %j', async (options, message) => {
    await expect(createAdapter(await moe, lora, { r: 2, ...options })).rejects.toThrow(message);
  });

  it("are what 'all-linear' is in a mixture, as PEFT writes it", async () => {
    const base = await baseOf('mixture-of-experts/mixtral');
    const folder = join(goldens, 'lora', 'mixtral-all-linear');
    const [theirs, made] = [
      await loadAdapter(base, folder),
      await createAdapter(base, lora, { r: 1, targetModules: 'all-linear' }),
    ];
    const sorted = ({
      config: { targetModules, targetParameters, rankPattern, alphaPattern },
    }: PeftAdapter<LoraConfig>) => ({
      ...{ rankPattern, alphaPattern },
      ...{ targetModules: [...targetModules!].sort(), targetParameters: [...targetParameters!].sort() },
    });
    expect(sorted(made)).toEqual(sorted(theirs as PeftAdapter<LoraConfig>));
    expect(Object.keys(made.parameters).sort()).toEqual(Object.keys(theirs.parameters).sort());
    const dropped = createAdapter(base, lora, { targetModules: 'all-linear', loraDropout: 0.1 });
    await expect(dropped).rejects.toThrow(/without loraDropout/);
  });

  it('are of models with experts, and not in stacks', async () => {
    const llama = await baseOf('llama');
    await expect(createAdapter(llama, lora, { targetParameters })).rejects.toThrow(
      /the model has no weights of experts/,
    );
    const adapter = await createAdapter(await moe, lora, { r: 1, targetModules: ['q_proj'], targetParameters });
    expect(() => stackAdapters([adapter])).toThrow(/does not only enter linear layers/);
  });
});

describe('trainableTokenIndices', () => {
  it('changes what those tokens are, and nothing of the others', async () => {
    const base = await baseOf('qwen2');
    const made = await createAdapter(base, lora, { r: 2, trainableTokenIndices: [7, 3] });
    const key = 'model.embed_tokens.token_adapter.trainable_tokens_delta';
    const rows = await made.parameters[key]!.toArray();
    const table = await base.weights['model.embed_tokens.weight']!.toArray();
    const width = base.config.hiddenSize;
    expect(rows).toEqual([7, 3].flatMap((id) => table.slice(id * width, (id + 1) * width)));
    const adapter = withAdapterParameters(made, { ...made.parameters, [key]: made.parameters[key]!.add(1) });
    const logits = (ids: number[], hooks: LayerHooks) => logitsOf(base, inputOf(ids, [1, ids.length]), hooks).toArray();
    const [own, plain] = [await logits([5, 9, 7], adapter.hooks(adapter.parameters)), await logits([5, 9, 7], {})];
    const moved = own.map((x, i) => Math.abs(x - plain[i]!) > 1e-6);
    const { vocabSize } = base.config;
    // Before token 7 is read, only the logits of 3 and 7 are others: the output layer has the same rows.
    expect(moved.slice(0, 2 * vocabSize).flatMap((is, i) => (is ? [i % vocabSize] : []))).toEqual([3, 7, 3, 7]);
    expect(moved.slice(2 * vocabSize).filter(Boolean).length).toBeGreaterThan(vocabSize / 2);
  });

  it.each<[Partial<LoraConfig>, RegExp]>([
    [{ trainableTokenIndices: [3, 3] }, /model.embed_tokens: 3, and it is there twice/],
    [{ trainableTokenIndices: [999] }, /999, and there are 256 tokens/],
    [{ trainableTokenIndices: { embed_token: [3] } }, /Did you mean "embed_tokens"\?/],
    [
      { trainableTokenIndices: [3], targetModules: ['embed_tokens'] },
      /is among targetModules or modulesToSave already/,
    ],
    [{ trainableTokenIndices: [3], modulesToSave: ['lm_head'] }, /lm_head is among targetModules or modulesToSave/],
    [{ trainableTokenIndices: [-1] }, /it must be a list of token ids/],
  ])('refuses %j', async (options, message) => {
    await expect(createAdapter(await baseOf('qwen2'), lora, options)).rejects.toThrow(message);
  });
});
