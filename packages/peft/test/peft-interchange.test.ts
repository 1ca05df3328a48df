import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { iota, Key, normal, referenceEngine, setEngine, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import { openSafetensors, writeSafetensors } from '@posttrain/core-tensor/io';
import { loadWeights } from '@posttrain/lm';
import { expect, it } from 'vitest';
import {
  createAdapter,
  type LoraConfig,
  type PeftMethod,
  peftMethods,
  saveAdapter,
  withAdapterParameters,
} from '../src/index.js';
import { modelOf } from './model.js';

/*
 * Adapters written here, loaded in PEFT. Needs a Python with the packages of goldens/requirements.txt, so it runs only
 * when asked: PYTHON=/path/to/python npx vitest run packages/peft/test/peft-interchange
 */
const python = process.env.PYTHON;
const goldens = join(import.meta.dirname, '../../../goldens');

const cases: readonly (readonly [base: string, config: Partial<LoraConfig>])[] = [
  ['llama', { targetModules: 'all-linear', rankPattern: { q_proj: 2 } }],
  ['llama', { targetModules: ['embed_tokens', 'lm_head', 'q_proj'], useDora: true }],
  ['gpt2', { targetModules: ['wte', 'wpe', 'c_fc'], useDora: true }],
  ['qwen2', { targetModules: ['embed_tokens', 'lm_head', 'o_proj'] }],
  ['qwen2', { targetModules: ['q_proj'], modulesToSave: ['embed_tokens', 'lm_head'] }],
  ['qwen2', { targetModules: ['q_proj'], modulesToSave: ['embed_tokens'] }],
  ['qwen2', { targetModules: ['q_proj'], bias: 'all', useRslora: true }],
  ['gpt2', { targetModules: 'all-linear', initLoraWeights: 'pissa' }],
];

const others: readonly (readonly [base: string, type: keyof typeof peftMethods, config: object])[] = [
  ['llama', 'ADALORA', { initR: 4, targetR: 2, totalStep: 10, targetModules: ['q_proj', 'down_proj'] }],
  ['gpt2', 'VERA', { r: 4, targetModules: 'all-linear' }],
  ['qwen2', 'VERA', { r: 4, bias: 'vera_only', targetModules: ['q_proj', 'o_proj'] }],
  ['qwen2', 'IA3', {}],
  ['gpt2', 'IA3', { targetModules: ['c_attn', 'c_fc'], feedforwardModules: ['c_fc'] }],
  ['qwen2', 'LN_TUNING', { targetModules: ['norm', 'input_layernorm'] }],
  ['gpt2', 'PROMPT_TUNING', { numVirtualTokens: 4 }],
  ['qwen2', 'PREFIX_TUNING', { numVirtualTokens: 4 }],
  ['qwen2', 'PREFIX_TUNING', { numVirtualTokens: 4, prefixProjection: true }],
  ['qwen2', 'P_TUNING', { numVirtualTokens: 4, encoderReparameterizationType: 'LSTM' }],
  ['llama', 'CPT', { cptTokenIds: [5, 9], optProjectionEpsilon: 3 }],
  ['llama', 'SHIRA', { r: 3, randomSeed: 5 }],
];

it.for([...cases.map(([base, config]) => [base, 'LORA', { r: 4, ...config }] as const), ...others])(
  'PEFT computes the same with an adapter for %s of %s %j',
  async ([base, type, config], context) => {
    if (python === undefined) return context.skip('set PYTHON to an interpreter with goldens/requirements.txt');
    setEngine(referenceEngine());
    const folder = await mkdtemp(join(tmpdir(), 'peft-interchange-'));
    try {
      const model = modelOf(await loadWeights(join(goldens, 'models', base)), join(goldens, 'models', base));
      const start = await createAdapter(model, peftMethods[type] as PeftMethod, config, { seed: 3 });
      const parameters: Record<string, Tensor> = {};
      for (const [i, [name, p]] of Object.entries(start.parameters).entries()) {
        parameters[name] = p.add(normal(Key.fromSeed(i).toTensor(), p.shape).mul(0.2));
      }
      const adapter = withAdapterParameters(start, parameters);
      await saveAdapter(join(folder, 'adapter'), adapter);

      const inputs = await openSafetensors(join(goldens, 'models', base, 'expected.safetensors'));
      const ids = (await inputs.read('batch.input_ids')).data as Int32Array;
      await inputs.close();
      const shape = [2, 10];
      const hooks = adapter.hooks(parameters);
      const input = { tokens: tensor(ids, shape, 'int32'), positions: iota(shape, 1), segments: zeros(shape, 'int32') };
      const hidden = model.network.hidden(model.weights, input, hooks).reshape([20, model.config.hiddenSize]);
      const logits = await hidden.matmul(model.network.head(model.weights, hooks), { transposeB: true }).toArray();
      const expected = join(folder, 'expected.safetensors');
      await writeSafetensors(expected, [
        { name: 'input_ids', dtype: 'int32', shape, data: ids },
        { name: 'logits', dtype: 'float32', shape: [2, 10, logits.length / 20], data: Float32Array.from(logits) },
      ]);
      const program = join(goldens, 'lora/verify_ours.py');
      const run = promisify(execFile)(python!, [
        program,
        join(folder, 'adapter'),
        join(goldens, 'models', base),
        expected,
      ]);
      const { stdout } = await run.catch((error: { stdout: string; stderr: string }) => {
        throw new Error(`${error.stdout}\n${error.stderr}`);
      });
      expect(stdout).toMatch(/largest absolute logit difference/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
