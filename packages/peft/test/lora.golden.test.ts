import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceEngine, setEngine, type Tensor, tensor, tokenLogProbs, valueAndGrad } from '@posttrain/core-tensor';
import { openSafetensors, type SafetensorsFile } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { Named } from '@posttrain/core-tensor/optim';
import { onEngine } from '@posttrain/core-tensor/testing';
import type { CausalLM, LayerHooks } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadAdapter, mergeAdapter, type PeftAdapter, saveAdapter, unmergeAdapter } from '../src/index.js';
import { baseOf, expectClose, goldens, inputOf, numbers } from './golden-model.js';

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
  return hidden.reshape([b * s, d]).matmul(model.network.head(model.weights, hooks), { transposeB: true });
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
  const { logProbs } = tokenLogProbs(states, model.network.head(model.weights, hooks), targets);
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
    const inputs = await openSafetensors(join(goldens, 'models', expected.base, 'expected.safetensors'));
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
    const { value, gradient } = valueAndGrad((parameters: Named) =>
      lossOf(base, input, labels, adapter.hooks(parameters)),
    )(adapter.parameters);
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
    const replaced = adapter.plan.saved.length + adapter.plan.biases.size > 0 || name.endsWith('dora');
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
