import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceEngine, setEngine, type Tensor, tensor, tokenLogProbs, valueAndGrad } from '@posttrain/core-tensor';
import { openSafetensors, type SafetensorsFile } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { Named } from '@posttrain/core-tensor/optim';
import { onEngine } from '@posttrain/core-tensor/testing';
import type { CausalLM, LayerHooks, RowInputs } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createAdapter,
  type LoraConfig,
  loadAdapter,
  lora,
  mergeAdapter,
  type PeftAdapter,
  peftMethods,
  type ShiraConfig,
  saveAdapter,
  shira,
  type TinyLoraConfig,
  tinyLora,
  withAdapterParameters,
} from '../src/index.js';
import { tinyModel } from '../src/testing/tiny-model.js';
import { baseOf, expectClose, goldens, inputOf, numbers } from './golden-model.js';

const ROOTS = ['peft-methods', 'bottleneck-adapters', 'loreft'];
const foldersOf = async (root: string) =>
  (await readdir(join(goldens, root), { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => [name, join(goldens, root, name)] as const);
const folders = (await Promise.all(ROOTS.map(foldersOf))).flat();

interface Expected {
  readonly base: string;
  readonly loss: number;
  readonly merged_parameters?: readonly string[];
  /** What the rows say of themselves. */
  readonly inputs?: readonly RowInputs[];
  /** Options of a start from rows, the rows, and the ranks and targets that they made. */
  readonly start?: Readonly<Record<string, unknown>>;
  readonly rows?: readonly (readonly number[])[];
  readonly ranks?: { readonly rank_pattern: object; readonly alpha_pattern: object };
  readonly targets?: readonly string[];
}

const camelCase = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
/** Options as PEFT has them, by our names. */
const ownNames = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).map(([name, one]) => [camelCase(name), ownNames(one)]))
    : value;

type Input = ReturnType<typeof inputOf>;

function logitsOf({ network, weights }: CausalLM, input: Input, hooks: LayerHooks): Tensor {
  const hidden = network.hidden(weights, input, hooks);
  return network.logits(weights, hidden.reshape([input.tokens.size, hidden.shape[2]!]), hooks);
}

/** Paths of modules that PEFT's list means, whole or as endings. */
const pathsOf = (targets: readonly string[], { network }: CausalLM) =>
  [...network.modules.keys()]
    .filter((name) => targets.some((target) => name === target || name.endsWith(`.${target}`)))
    .sort();

/** X-LoRA names folders from where this repository is. */
const withoutRoot = (json: string): unknown => JSON.parse(json.replaceAll(`${goldens}/`, ''));

/** Mean of -log p over labels ≠ -100; no first token is predicted. */
function lossOf({ network, weights }: CausalLM, input: Input, labels: readonly number[], adapter: PeftAdapter) {
  return (parameters: Named): Tensor => {
    const hooks = adapter.hooks(parameters);
    const [b, s] = input.tokens.shape as [number, number];
    const hidden = network.hidden(weights, input, hooks).slice(1, 0, s - 1);
    const states = hidden.reshape([b * (s - 1), hidden.shape[2]!]);
    const shifted = labels.filter((_, i) => i % s !== 0);
    const targets = tensor(
      Int32Array.from(shifted, (label) => Math.max(label, 0)),
      [shifted.length],
      'int32',
    );
    const counted = tensor(Float32Array.from(shifted, (label) => (label === -100 ? 0 : 1)));
    const options = { softCap: network.logitSoftCap };
    const { logProbs } = tokenLogProbs(states, network.head(weights, hooks), targets, options);
    const loss = logProbs.mul(counted).sum().neg().div(counted.sum());
    return adapter.penalty ? loss.add(adapter.penalty(parameters)) : loss;
  };
}

beforeAll(() => setEngine(referenceEngine()));

it('has every type over two architectures, one of them with weights stored [in, out] wherever PEFT enters those', async () => {
  const conv1d = await tinyModel('gpt2');
  const bases = new Map<string, Set<string>>();
  for (const [, folder] of folders) {
    const read = async (file: string) => JSON.parse(await readFile(join(folder, file), 'utf8'));
    const type: string = (await read('adapter_config.json')).peft_type;
    bases.set(type, (bases.get(type) ?? new Set()).add((await read('expected.json')).base));
  }
  expect([...bases.keys()].sort()).toEqual(Object.keys(peftMethods).sort());
  const refusing: string[] = [];
  for (const [type, found] of bases) {
    expect(found.size, type).toBeGreaterThanOrEqual(2);
    if (found.has('gpt2')) continue;
    refusing.push(type);
    // PEFT's X-LoRA finds no experts of a GPT-2 in their files.
    if (type === 'XLORA') continue;
    const made = createAdapter(conv1d, peftMethods[type as 'HRA'], { targetModules: ['c_attn'] });
    await expect(made, type).rejects.toThrow(/c_attn is a Conv1D, which .* does not enter, as in PEFT/);
  }
  const conv = ['BOFT', 'C3A', 'HRA', 'LOHA', 'LOKR', 'MISS', 'OFT', 'OSF', 'POLY', 'ROAD', 'SHIRA', 'XLORA'];
  expect(refusing.sort()).toEqual(conv);
});

describe.each(folders)('PEFT adapter %s', (name, folder) => {
  let expected: Expected;
  let base: CausalLM;
  /** As its file has it, and as it is trained: an encoder's numbers are not in PEFT's files. */
  let adapter: PeftAdapter;
  let trained: PeftAdapter;
  let file: SafetensorsFile;
  let input: Input;
  let labels: number[];

  beforeAll(async () => {
    expected = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8')) as Expected;
    base = await baseOf(expected.base);
    const { adapters } = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
    const moved = Object.entries((adapters ?? {}) as Record<string, string>).map(([key, path]) => [
      key,
      join(goldens, path),
    ]);
    adapter = await loadAdapter(base, folder, adapters ? { config: { adapters: Object.fromEntries(moved) } } : {});
    file = await openSafetensors(join(folder, 'expected.safetensors'));
    const parameters: Record<string, Tensor> = {};
    for (const [key, { shape }] of file.tensors) {
      if (key.startsWith('parameter.')) parameters[key.slice(10)] = tensor(await numbers(file, key), shape);
    }
    const hasEncoder = Object.keys(parameters).length > 0;
    const made = hasEncoder && (await createAdapter(base, adapter.method, adapter.config));
    trained = made ? withAdapterParameters(made, parameters) : adapter;
    const inputs = await openSafetensors(join(goldens, 'models', expected.base, 'expected.safetensors'));
    const { shape } = inputs.tensors.get('batch.input_ids')!;
    input = inputOf(await numbers(inputs, 'batch.input_ids'), shape as [number, number], adapter, expected.inputs);
    labels = await numbers(inputs, 'batch.labels');
    await inputs.close();
    return () => file.close();
  });

  it('gives the same logits, on both engines', async () => {
    for (const { hooks, parameters } of new Set([adapter, trained])) {
      const logits = () => logitsOf(base, input, hooks(parameters)).toArray();
      expectClose(await logits(), await numbers(file, 'logits'), 1e-4);
      expectClose(await onEngine(onnxruntimeEngine(), logits), await numbers(file, 'logits'), 1e-4);
    }
  });

  it('has the same loss and gradients', async () => {
    const { value, gradient } = valueAndGrad(lossOf(base, input, labels, trained))(trained.parameters);
    expect(Math.abs((await value.item()) - expected.loss)).toBeLessThan(1e-5);
    const keys = [...file.tensors.keys()].filter((key) => key.startsWith('gradient.'));
    const nameOf = (key: string) => key.replace(/^gradient\.(base_model\.(model\.)?)?/, '');
    expect(keys.map(nameOf).sort()).toEqual(Object.keys(trained.parameters).sort());
    for (const key of keys) {
      const theirs = await numbers(file, key);
      expectClose(
        await (gradient as Named)[nameOf(key)]!.toArray(),
        theirs,
        2e-5 * Math.max(1, ...theirs.map(Math.abs)),
      );
    }
  });

  if (/^(pissa|olora)/.test(name)) {
    it('starts from the same factors, and as the base', async () => {
      const fresh = await createAdapter(base, lora, adapter.config as Partial<LoraConfig>);
      for (const key of [...file.tensors.keys()].filter((key) => /^initial.*lora_[AB]/.test(key))) {
        // A singular vector has two signs.
        const magnitudes = (values: readonly number[]) => values.map(Math.abs);
        const own = await fresh.parameters[key.replace('initial.base_model.model.', '')]!.toArray();
        expectClose(magnitudes(own), magnitudes(await numbers(file, key)), 2e-5);
      }
      const logits = await logitsOf(base, input, fresh.hooks(fresh.parameters)).toArray();
      expectClose(logits, await numbers(file, 'initial.logits'), 1e-4);
      expectClose(logits, await logitsOf(base, input, {}).toArray(), 1e-5);
    });
  }

  if (/^(eva|corda|lora-ga|orthogonal)/.test(name)) {
    it('starts from rows as PEFT does, and as the base; with the same numbers it learns and saves the same', async () => {
      const { fanInFanOut: _, ...config } = ownNames(expected.start) as Partial<LoraConfig> & { fanInFanOut?: boolean };
      const fresh = await createAdapter(base, lora, config, { rows: expected.rows! });
      expect(fresh.config.rankPattern).toEqual(expected.ranks!.rank_pattern);
      expect(fresh.config.alphaPattern).toEqual(expected.ranks!.alpha_pattern);
      expect(fresh.plan.targets.map((module) => module.name).sort()).toEqual(pathsOf(expected.targets!, base));
      const near = (key: string) => key.replace(/^.*base_model\.model\./, '');
      const keys = (kind: string) => [...file.tensors.keys()].filter((key) => key.startsWith(kind));
      for (const key of keys('initial.base_model')) {
        const own = await fresh.parameters[near(key)]!.toArray();
        const theirs = await numbers(file, key);
        // Random ones cannot be the same, only as large.
        if (config.initLoraWeights === 'orthogonal') expect(own.length).toBe(theirs.length);
        // A singular vector has two signs.
        else expectClose(own.map(Math.abs), theirs.map(Math.abs), 2e-4 * Math.max(1, ...theirs.map(Math.abs)));
      }
      const logits = await logitsOf(base, input, fresh.hooks(fresh.parameters)).toArray();
      expectClose(logits, await numbers(file, 'initial.logits'), 1e-4);
      expectClose(logits, await logitsOf(base, input, {}).toArray(), 1e-5);

      const started = keys('started.parameter.');
      if (started.length === 0) return;
      const given: Record<string, Tensor> = {};
      for (const key of started) given[near(key)] = tensor(await numbers(file, key), file.tensors.get(key)!.shape);
      const moved = withAdapterParameters(fresh, given);
      expectClose(await logitsOf(base, input, moved.hooks(given)).toArray(), await numbers(file, 'logits'), 2e-4);
      const { gradient } = valueAndGrad(lossOf(base, input, labels, moved))(given);
      for (const key of keys('started.gradient.')) {
        expectClose(await (gradient as Named)[near(key)]!.toArray(), await numbers(file, key), 1e-4);
      }
      const out = await mkdtemp(join(tmpdir(), 'peft-'));
      try {
        await saveAdapter(out, moved);
        const again = await loadAdapter(base, out);
        expect({ ...again.config, targetModules: null }).toEqual({ ...adapter.config, targetModules: null });
        const change = await logitsOf(base, input, again.hooks(again.parameters)).toArray();
        expectClose(change, await logitsOf(base, input, moved.hooks(given)).toArray(), 1e-4);
      } finally {
        await rm(out, { recursive: true });
      }
    });
  }

  if (/^shira/.test(name)) {
    it('draws the same entries', async () => {
      const fresh = await createAdapter(base, shira, adapter.config as Partial<ShiraConfig>);
      for (const key of [...file.tensors.keys()].filter((key) => key.startsWith('initial.'))) {
        const own = fresh.frozen[key.replace('initial.base_model.model.', '')]!;
        expect(await own.toArray()).toEqual(await numbers(file, key));
      }
    });
  }

  if (/^tinylora/.test(name)) {
    it('starts from the same directions of the weights', async () => {
      const fresh = await createAdapter(base, tinyLora, adapter.config as Partial<TinyLoraConfig>);
      for (const key of [...file.tensors.keys()].filter((key) => key.startsWith('initial.'))) {
        const own = await fresh.frozen[key.replace('initial.base_model.model.', '')]!.toArray();
        // A singular vector has two signs.
        expectClose(own.map(Math.abs), (await numbers(file, key)).map(Math.abs), 2e-5);
      }
    });
  }

  it('is merged to the same weights, where it can be', async () => {
    if (!expected.merged_parameters) {
      return await expect(mergeAdapter(base, adapter)).rejects.toThrow(/so it cannot be merged/);
    }
    const { model, drift } = await mergeAdapter(base, adapter);
    expect(drift).toBeLessThan(1e-5);
    for (const key of [...file.tensors.keys()].filter((key) => key.startsWith('merged.'))) {
      expectClose(await model.weights[key.slice('merged.'.length)]!.toArray(), await numbers(file, key), 5e-6);
    }
    const changed = Object.keys(model.weights).filter((key) => model.weights[key] !== base.weights[key]);
    expect(changed.sort()).toEqual([...expected.merged_parameters].sort());
  });

  it('is written as PEFT wrote it, byte for byte', async () => {
    const out = await mkdtemp(join(tmpdir(), 'peft-'));
    try {
      await saveAdapter(out, adapter);
      expect((await readdir(out)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
      for (const written of await readdir(out)) {
        const [ours, theirs] = await Promise.all([readFile(join(out, written)), readFile(join(folder, written))]);
        if (written.endsWith('.json')) expect(withoutRoot(ours.toString())).toEqual(JSON.parse(theirs.toString()));
        else expect(ours.equals(theirs)).toBe(true);
      }
    } finally {
      await rm(out, { recursive: true });
    }
  });
});
