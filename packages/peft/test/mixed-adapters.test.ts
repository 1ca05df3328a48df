import { Key, referenceEngine, tensor } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { type CausalLM, ModelRunner } from '@posttrain/lm';
import { describe, expect, it } from 'vitest';
import { createAdapter, type LoraConfig, lora, mergeAdapter, withAdapterParameters } from '../src/index.js';
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
