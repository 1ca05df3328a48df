import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { loadWeights, parseModelConfig } from '../src/index.js';
import { impliedParameters } from '../src/model/implied-size.js';
import { goldenFolder, MODEL_FOLDERS, modelFolder, temporaryFolder } from './support.js';

type Json = Record<string, unknown>;

async function folderWith(name: string, change: Json): Promise<string> {
  const folder = await temporaryFolder();
  await cp(join(goldenFolder('config-keys'), `${name}.safetensors`), join(folder, 'model.safetensors'));
  const { config } = JSON.parse(await readFile(join(goldenFolder('config-keys'), `${name}.json`), 'utf8'));
  await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, ...change }));
  return folder;
}

const BOTH = /asks for [\d.e+]+ parameters, but the weights have \d+ bytes/;

describe('an absurd config.json is refused before anything is built from it', () => {
  it.each<[string, Json, RegExp]>([
    ['llama', { num_hidden_layers: 1e9 }, /"num_hidden_layers" must be at most 10000, not 1000000000/],
    ['llama', { num_hidden_layers: 9999 }, BOTH],
    ['llama', { hidden_size: 1e9 }, BOTH],
    ['llama', { hidden_size: 1e12 }, /"hidden_size" must be at most 2147483647/],
    ['llama', { vocab_size: 2e9 }, BOTH],
    ['llama', { head_dim: 1e9 }, BOTH],
    ['llama', { intermediate_size: 1e9 }, BOTH],
    ['llama', { num_attention_heads: 1e9, num_key_value_heads: 1e9, head_dim: 8 }, BOTH],
    ['llama', { max_position_embeddings: 1e12 }, /"max_position_embeddings" must be at most 2147483647/],
    ['gpt2', { n_positions: 1e9 }, BOTH],
    ['gpt2', { n_layer: 1e9 }, /"n_layer" must be at most 10000/],
    ['mixtral', { num_local_experts: 1e9 }, /"num_local_experts" must be at most 100000/],
    ['mixtral', { num_local_experts: 1e5 }, BOTH],
    ['qwen3-moe', { num_experts: 5e4, num_local_experts: null, moe_intermediate_size: 64 }, BOTH],
    ['llama-classifier', { id2label: null, num_labels: 1e9 }, /"num_labels" must be at most 1000000/],
    ['llama-classifier', { id2label: null, num_labels: 1e6 }, BOTH],
    ['gemma3', { sliding_window_pattern: 1e12, layer_types: null }, /"sliding_window_pattern" must be at most/],
    ['llama', { hidden_size: '16' }, /"hidden_size" must be a positive integer, not "16"/],
    ['llama', { hidden_size: -16 }, /"hidden_size" must be a positive integer, not -16/],
    ['llama', { hidden_size: [16] }, /"hidden_size" must be a positive integer, not \[16\]/],
    ['llama', { num_hidden_layers: 1.5 }, /"num_hidden_layers" must be a positive integer, not 1.5/],
    ['llama', { hidden_size: true }, /not true/],
    ['llama', { rms_norm_eps: 'NaN' }, /"rms_norm_eps" must be a positive number, not "NaN"/],
    ['llama', { rope_parameters: [1] }, /"rope_parameters" must be an object, not \[1\]/],
    ['mistral', { layer_types: Array(100_000).fill('full_attention') }, /a list of 2 .* not a list of 100000/],
    ['llama', { hidden_act: 'x'.repeat(1e6) }, /^.{1,400}$/],
    ['llama', { eos_token_id: { a: 1 } }, /"eos_token_id" must be a token id/],
  ])(
    '%s with %j',
    async (name, change, message) => {
      const load = loadWeights(await folderWith(name, change));
      await expect(load).rejects.toThrow(PosttrainError);
      await expect(load).rejects.toThrow(message);
    },
    20_000,
  );

  it('and one that is as deep as it likes', async () => {
    const folder = await folderWith('llama', {});
    await writeFile(
      join(folder, 'config.json'),
      `{"model_type":"llama","hidden_size":${'['.repeat(1e5)}${']'.repeat(1e5)}}`,
    );
    await expect(loadWeights(folder)).rejects.toThrow(/inside each other more than 100 deep/);
    await mkdir(join(folder, 'sub', 'config.json'), { recursive: true });
    await expect(loadWeights(join(folder, 'sub'))).rejects.toThrow(/config\.json: cannot be read/);
  });

  it.each(MODEL_FOLDERS)('%s: has at least the implied parameters', async (name) => {
    const config = parseModelConfig(JSON.parse(await readFile(join(modelFolder(name), 'config.json'), 'utf8')));
    const { parameters } = JSON.parse(await readFile(join(modelFolder(name), 'expected.json'), 'utf8'));
    const implied = impliedParameters(config);
    expect(implied).toBeLessThanOrEqual(parameters);
    expect(implied).toBeGreaterThan(0.5 * parameters);
  });
});
