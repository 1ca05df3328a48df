import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  iota,
  referenceEngine,
  setEngine,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  zeros,
} from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import type { Named } from '@posttrain/core-tensor/optim';
import { type CausalLM, exportGenerator, type LayerHooks, loadWeights } from '@posttrain/lm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateExported } from '../../lm/test/exported-generator.js';
import { loadAdapter, mergeAdapter, type PeftAdapter, saveAdapter } from '../src/index.js';
import { modelOf } from './model.js';

// A config that says tie_word_embeddings, and weights that have an output layer of their own: the adapter is of that layer.
const goldens = join(import.meta.dirname, '../../../goldens/lora-own-head');
const CASES = ['llama-head', 'llama-head-only-dora', 'llama-embedding', 'llama-saved', 'gemma2-head', 'gpt2-head'];

interface Expected {
  readonly base: string;
  readonly loss: number;
  readonly merged_parameters: readonly string[];
}

const loadModel = async (folder: string, name: string): Promise<CausalLM> => modelOf(await loadWeights(folder), name);

function inputOf(ids: Tensor) {
  return { tokens: ids, positions: iota(ids.shape, 1), segments: zeros(ids.shape, 'int32') };
}

function logitsOf({ network, weights }: CausalLM, ids: Tensor, hooks: LayerHooks = {}): Tensor {
  const hidden = network.hidden(weights, inputOf(ids), hooks);
  return network.logits(weights, hidden.reshape([ids.size, -1]), hooks);
}

/** Mean of -log p of every token but the first of a row. */
function lossOf({ network, weights }: CausalLM, ids: Tensor, hooks: LayerHooks): Tensor {
  const [b, s] = ids.shape as [number, number];
  const hidden = network.hidden(weights, inputOf(ids), hooks).slice(1, 0, s - 1);
  const states = hidden.reshape([b * (s - 1), -1]);
  const targets = ids.slice(1, 1).reshape([-1]);
  const { logProbs } = tokenLogProbs(states, network.head(weights, hooks), targets, { softCap: network.logitSoftCap });
  return logProbs.mean().neg();
}

async function expectClose(actual: Tensor, expected: Tensor, tolerance: number, what?: string): Promise<void> {
  const [ours, theirs] = [await actual.toArray(), await expected.toArray()];
  expect(ours.length, what).toBe(theirs.length);
  const worst = theirs.reduce((most, value, i) => Math.max(most, Math.abs(ours[i]! - value)), 0);
  expect(worst, what).toBeLessThan(tolerance);
}

beforeAll(() => setEngine(referenceEngine()));

describe.each(CASES)('PEFT adapter %s of a model with an output layer of its own', (name) => {
  const folder = join(goldens, name);
  let expected: Expected;
  let base: CausalLM;
  let adapter: PeftAdapter;
  let golden: ReadonlyMap<string, Tensor>;
  let ids: Tensor;
  let out: string;

  beforeAll(async () => {
    out = await mkdtemp(join(tmpdir(), 'peft-'));
    expected = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8')) as Expected;
    base = await loadModel(join(goldens, 'base', expected.base), `base/${expected.base}`);
    adapter = await loadAdapter(base, folder);
    const file = await openSafetensors(join(folder, 'expected.safetensors'));
    const tensors = new Map<string, Tensor>();
    for (const key of file.tensors.keys()) {
      const { data, shape, dtype } = await file.read(key);
      tensors.set(key, tensor(data, shape, dtype));
    }
    await file.close();
    golden = tensors;
    ids = golden.get('input_ids')!;
  });
  afterAll(() => rm(out, { recursive: true }));

  it('gives the same logits, loss and gradients', async () => {
    await expectClose(logitsOf(base, ids, adapter.hooks(adapter.parameters)), golden.get('logits')!, 1e-4);
    const loss = (parameters: Named) => lossOf(base, ids, adapter.hooks(parameters));
    const { value, gradient } = valueAndGrad(loss)(adapter.parameters);
    expect(Math.abs((await value.item()) - expected.loss)).toBeLessThan(1e-5);
    const prefix = 'gradient.base_model.model.';
    const keys = [...golden.keys()].filter((key) => key.startsWith(prefix));
    expect(keys.map((key) => key.slice(prefix.length)).sort()).toEqual(Object.keys(adapter.parameters).sort());
    for (const key of keys) {
      await expectClose((gradient as Named)[key.slice(prefix.length)]!, golden.get(key)!, 1e-5, key);
    }
  });

  it('is written as PEFT wrote it', async () => {
    await saveAdapter(join(out, 'adapter'), adapter);
    for (const file of await readdir(join(out, 'adapter'))) {
      const [ours, theirs] = await Promise.all(
        [out, goldens].map((at, i) => readFile(join(at, i ? name : 'adapter', file))),
      );
      if (file.endsWith('.json')) expect(JSON.parse(`${ours}`)).toEqual(JSON.parse(`${theirs}`));
      else expect(ours!.equals(theirs!)).toBe(true);
    }
  });

  // One of each family of exported graphs; an export takes seconds.
  const exported = ['llama-head', 'gemma2-head'].filter((one) => one === name);
  it.each(exported)('%s computes the same in the ONNX files that it is exported to', async () => {
    const [rows, length] = ids.shape as [number, number];
    const tokens = await ids.toArray();
    const want = await golden.get('logits')!.toArray();
    const width = want.length / tokens.length;
    for (const operators of ['standard', 'contrib'] as const) {
      const at = join(out, operators);
      const manifest = await exportGenerator(base, at, { adapter, capacity: 16, promptWidth: 4, operators });
      for (let row = 0; row < rows; row++) {
        // After a prompt of one call, and after one of three.
        for (const count of [3, length]) {
          const { logits } = await generateExported(at, manifest, tokens.slice(row * length, row * length + count), 1);
          const last = (row * length + count - 1) * width;
          await expectClose(tensor(logits[0]!), tensor(Float32Array.from(want.slice(last, last + width))), 1e-4);
        }
      }
    }
  });

  it('is merged to the same weights, which are a folder’s and its logits', async () => {
    const { model, drift } = await mergeAdapter(base, adapter);
    expect(drift).toBeLessThan(1e-5);
    const changed = Object.keys(model.weights).filter((key) => model.weights[key] !== base.weights[key]);
    expect(changed.sort()).toEqual([...expected.merged_parameters].sort());
    for (const [key, weight] of golden) {
      if (key.startsWith('merged.')) await expectClose(model.weights[key.slice(7)]!, weight, 2e-6, key);
    }
    await model.save(join(out, 'merged'));
    const again = await loadModel(join(out, 'merged'), name);
    expect(again.config.tieWordEmbeddings).toBe(false);
    await expectClose(logitsOf(again, ids), golden.get('logits')!, 1e-4);
    // Not from the formula: without the adapter, or with the embedding for the output layer, they are others.
    const tied = model.withWeights({ ...model.weights, 'lm_head.weight': embeddingOf(model) });
    for (const other of [base, tied]) {
      await expect(expectClose(logitsOf(other, ids), golden.get('logits')!, 0.1)).rejects.toThrow();
    }
  });
});

const embeddingOf = ({ network, weights }: CausalLM): Tensor =>
  weights[network.modules.has('transformer.wte') ? 'transformer.wte.weight' : 'model.embed_tokens.weight']!;
