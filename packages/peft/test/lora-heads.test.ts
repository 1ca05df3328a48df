import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceEngine, scalar, setEngine, type Tensor, tensor, valueAndGrad } from '@posttrain/core-tensor';
import { openSafetensors, type SafetensorsFile } from '@posttrain/core-tensor/io';
import { adamW, type Named } from '@posttrain/core-tensor/optim';
import {
  loadWeights,
  SequenceClassifier,
  sequenceLogits,
  TokenClassifier,
  tokenLogits,
  ValueModel,
} from '@posttrain/lm';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type AdaptableModel,
  createAdapter,
  loadAdapter,
  lora,
  saveAdapter,
  withAdapterParameters,
} from '../src/index.js';
import { modelOf } from './model.js';

const goldens = join(import.meta.dirname, '../../../goldens');
let out: string;

beforeAll(() => setEngine(referenceEngine()));
beforeEach(async () => {
  out = await mkdtemp(join(tmpdir(), 'peft-'));
});
afterEach(() => rm(out, { recursive: true }));

/** The parts of a head model of the goldens; no test here looks at text. */
async function partsOf(name: string) {
  const parts = await loadWeights(join(goldens, 'heads', name));
  // A tokenizer for tests that never look at text.
  const { tokenizer } = modelOf(await loadWeights(join(goldens, 'models/llama')));
  return { ...parts, tokenizer, name: `heads/${name}` };
}

const read = async (file: SafetensorsFile, name: string): Promise<Tensor> => {
  const { data, shape, dtype } = await file.read(name);
  return tensor(data, shape, dtype);
};

function inputOf(tokens: Tensor) {
  const [b, s] = tokens.shape as [number, number];
  const positions = tensor(
    Int32Array.from({ length: b * s }, (_, i) => i % s),
    [b, s],
    'int32',
  );
  return { tokens, positions, segments: positions.mul(0) };
}

async function expectClose(actual: Tensor, expected: Tensor): Promise<void> {
  expect(actual.shape).toEqual(expected.shape);
  const [ours, theirs] = [await actual.toArray(), await expected.toArray()];
  theirs.forEach((value, i) => {
    expect(Math.abs(ours[i]! - value)).toBeLessThan(2e-5 * (1 + Math.abs(value)));
  });
}

describe.each([
  ['llama-reward', SequenceClassifier],
  ['gpt2-token', TokenClassifier],
] as const)('PEFT adapter of %s', (name, Head) => {
  it('gives the same logits and gradients', async () => {
    const model = new Head(await partsOf(name));
    const adapter = await loadAdapter(model, join(goldens, 'lora-heads', name));
    const inputs = await openSafetensors(join(goldens, 'heads', name, 'expected.safetensors'));
    const expected = await openSafetensors(join(goldens, 'lora-heads', name, 'expected.safetensors'));
    try {
      const tokens = (await read(inputs, 'input_ids')).cast('int32');
      const mask = (await read(inputs, 'attention_mask')).cast('float32');
      const last = mask.sum(1).sub(1).cast('int32');
      const cotangent = await read(inputs, 'cotangent');
      const logits = (parameters: Named) => {
        const hooks = adapter.hooks(parameters);
        const { network, weights } = model;
        if (Head === SequenceClassifier) {
          return sequenceLogits(network, weights, { ...inputOf(tokens), last }, hooks);
        }
        return tokenLogits(network, weights, inputOf(tokens), hooks).mul(mask.expandDims(2));
      };
      await expectClose(logits(adapter.parameters), await read(expected, 'logits'));
      const objective = (parameters: Named) => logits(parameters).mul(cotangent).sum();
      const { gradient } = valueAndGrad(objective)(adapter.parameters);
      const prefix = 'gradient.base_model.model.';
      const keys = [...expected.tensors.keys()].filter((key) => key.startsWith(prefix));
      expect(keys.map((key) => key.slice(prefix.length)).sort()).toEqual(Object.keys(adapter.parameters).sort());
      for (const key of keys) {
        await expectClose((gradient as Named)[key.slice(prefix.length)]!, await read(expected, key));
      }
    } finally {
      await Promise.all([inputs.close(), expected.close()]);
    }
  });

  it('is written as PEFT wrote it', async () => {
    const folder = join(goldens, 'lora-heads', name);
    await saveAdapter(out, await loadAdapter(new Head(await partsOf(name)), folder));
    const json = async (at: string) => JSON.parse(await readFile(join(at, 'adapter_config.json'), 'utf8'));
    expect(await json(out)).toEqual(await json(folder));
    const tensors = (at: string) => readFile(join(at, 'adapter_model.safetensors'));
    expect((await tensors(out)).equals(await tensors(folder))).toBe(true);
  });
});

it('trains LoRA and the head of a reward model, which are saved and loaded', async () => {
  const model = new SequenceClassifier(await partsOf('llama-reward'));
  const adapter = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj', 'v_proj'] });
  expect(adapter.config.modulesToSave).toEqual(['score']);
  expect(Object.keys(adapter.parameters)).toContain('score.weight');
  const before = await model.logits([
    [5, 6, 7],
    [8, 9],
  ]);
  // Fresh LoRA with the base's own head changes nothing.
  expect(
    await model.logits(
      [
        [5, 6, 7],
        [8, 9],
      ],
      { adapter },
    ),
  ).toEqual(before);

  const tokens = tensor(Int32Array.from([5, 6, 7, 8, 9, 10]), [2, 3], 'int32');
  const last = tensor(Int32Array.from([2, 2]), [2], 'int32');
  // Bradley-Terry: the first row is preferred.
  const loss = (parameters: Named) => {
    const input = { ...inputOf(tokens), last };
    const rewards = sequenceLogits(model.network, model.weights, input, adapter.hooks(parameters));
    return rewards
      .slice(0, 0, 1)
      .sub(rewards.slice(0, 1, 2))
      .sigmoid()
      .log()
      .neg()
      .sum();
  };
  const optimizer = adamW();
  let parameters = adapter.parameters;
  let state = optimizer.init(parameters);
  const losses: number[] = [];
  for (let step = 0; step < 8; step++) {
    const { value, gradient } = valueAndGrad(loss)(parameters);
    losses.push(await value.item());
    ({ parameters, state } = optimizer.update(parameters, gradient as Named, state, scalar(0.05)));
  }
  expect(losses.at(-1)).toBeLessThan(losses[0]! / 2);

  const trained = withAdapterParameters(adapter, parameters);
  await saveAdapter(out, trained);
  const config = JSON.parse(await readFile(join(out, 'adapter_config.json'), 'utf8'));
  expect(config).toMatchObject({ task_type: 'SEQ_CLS', modules_to_save: ['score'] });
  const loaded = await loadAdapter(model, out);
  const sequences = [
    [5, 6, 7],
    [8, 9, 10],
  ];
  const logits = await model.logits(sequences, { adapter: loaded });
  // The reference engine trained in float64; files have float32.
  const beforeSaving = await model.logits(sequences, { adapter: trained });
  for (const [i, row] of logits.entries()) expect(row[0]).toBeCloseTo(beforeSaving[i]![0]!, 5);
  expect(logits[0]![0]).toBeGreaterThan(logits[1]![0]!);
});

it('trains the head of a value model, and all layers of a head with a hidden one', async () => {
  const parametersOf = async (model: AdaptableModel) => {
    const { parameters, plan, taskType } = await createAdapter(model, lora, { targetModules: ['q_proj'] });
    return { names: Object.keys(parameters), saved: plan.saved.map(({ name }) => name), taskType };
  };
  const value = await parametersOf(new ValueModel(await partsOf('llama-v-head')));
  expect(value).toMatchObject({ saved: ['v_head.summary'], taskType: 'CAUSAL_LM' });
  expect(value.names).toEqual(expect.arrayContaining(['v_head.summary.weight', 'v_head.summary.bias']));
  const steps = await parametersOf(new TokenClassifier(await partsOf('qwen2-process-reward')));
  expect(steps).toMatchObject({ saved: ['score.0', 'score.2'], taskType: 'TOKEN_CLS' });
});

it('refuses an adapter of another task', async () => {
  const classifier = new SequenceClassifier(await partsOf('llama-reward'));
  await saveAdapter(out, await createAdapter(classifier, lora));
  const causal = modelOf(await loadWeights(join(goldens, 'models/llama')));
  await expect(loadAdapter(causal, out)).rejects.toThrow(/task_type "SEQ_CLS" \(the model is CAUSAL_LM\)/);
});
