import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Tensor } from '@posttrain/core-tensor';
import { openSafetensorsFolder, type TensorSource, writeSafetensors } from '@posttrain/core-tensor/io';
import { type Adapter, type CausalLM, type LayerHooks, loadWeights } from '@posttrain/lm';
import { describe, expect, it, vi } from 'vitest';
import { temporaryFolder } from '../../lm/test/support.js';
import { fedAvg } from '../../training/src/index.js';
import {
  addWeightedAdapter,
  createAdapter,
  extractLora,
  greedySoup,
  type LoraConfig,
  loadAdapter,
  lora,
  type MergeRecipe,
  mergeAdapter,
  mergeMethods,
  mergeModels,
  type PeftAdapter,
  readMergeRecipe,
  saveAdapter,
  saveGramMatrices,
  type WeightedAdapterOptions,
} from '../src/index.js';
import { among, largest } from '../src/merging/largest.js';
import { mergeCommand } from '../src/merging/merge-command.js';
import type { MergeMethod, MergeTensor } from '../src/merging/merge-method.js';
import { baseOf, expectClose, goldens, inputOf } from './golden-model.js';

interface Golden {
  readonly shape: readonly [number, number];
  readonly base: readonly number[];
  readonly models: readonly (readonly number[])[];
  readonly uniforms: readonly (readonly number[])[];
  readonly fisher: readonly (readonly number[])[];
  readonly gram: readonly (readonly number[])[];
  readonly cases: readonly {
    readonly method: keyof typeof mergeMethods;
    readonly options: object;
    readonly each: readonly object[];
    readonly models: number;
    readonly merged: readonly number[];
  }[];
}
const golden: Golden = JSON.parse(await readFile(join(goldens, 'merging/expected.json'), 'utf8'));

/** A tensor in memory that is read `rows` rows at a time; `draw` gives what DARE and DELLA draw. */
function tensorOf(
  { base, models, shape }: Pick<Golden, 'base' | 'models' | 'shape'>,
  rows = shape[0],
  draw: (model: number) => readonly number[] = (model) => golden.uniforms[model]!,
): MergeTensor {
  const size = shape[0] * shape[1];
  const [ofBase, ofModels] = [Float32Array.from(base), models.map((model) => Float32Array.from(model))];
  return {
    ...{ name: 'w', shape, size, models: models.length, transposed: false },
    async *parts() {
      for (let from = 0; from < size; from += rows * shape[1]) {
        const cut = (x: Float32Array) => x.slice(from, from + rows * shape[1]);
        yield { from, base: cut(ofBase), models: ofModels.map(cut) };
      }
    },
    uniforms: (model, from, count) => Float64Array.from(draw(model).slice(from, from + count)),
    about: async (model, kind) =>
      ({
        path: kind,
        tensors: new Map([['w', {}]]),
        read: async (_: string, { range = [0, 64] }: { range?: [number, number] }) => ({
          data: Float32Array.from(golden[kind as 'fisher' | 'gram'][model]!.slice(...range)),
          shape: kind === 'gram' ? [shape[1], shape[1]] : [range[1] - range[0]],
        }),
      }) as unknown as TensorSource,
    whole: async (model) => ofModels[model]!,
  };
}

async function mergedBy(method: MergeMethod, tensor: MergeTensor, options: object, each: readonly object[]) {
  const all = each.map((own) => method.modelOptions.read({ fisher: '-', gram: '-', ...own }));
  const merge = await method.merge(tensor, method.options.read(options), all);
  const merged: number[] = [];
  for await (const part of tensor.parts()) merged.push(...(await merge(part)));
  return merged;
}

/** `mergedBy` for a method that has not these parameters of models. */
const merged = (name: keyof typeof mergeMethods, tensor: MergeTensor, options: object, each: readonly object[]) => {
  const method = mergeMethods[name] as MergeMethod;
  const { shape } = method.modelOptions;
  const read = (given: object) =>
    method.modelOptions.read(Object.fromEntries(Object.entries(given).filter(([key]) => key in shape)));
  return mergedBy({ ...method, modelOptions: { ...method.modelOptions, read } }, tensor, options, each);
};

describe('merge methods', () => {
  it.each(golden.cases.map((entry, i) => [`${entry.method} ${i}`, entry] as const))(
    '%s is the formula of its paper, in parts of any size',
    async (_, { method, options, each, models, merged: expected }) => {
      for (const rows of [6, 1, 4]) {
        const tensor = tensorOf({ ...golden, models: golden.models.slice(0, models) }, rows);
        expectClose(await merged(method, tensor, options, each), expected, 2e-6);
      }
    },
  );

  const { base, shape } = golden;
  const [first, second] = golden.models as [number[], number[], number[]];
  const of = (...models: (readonly number[])[]) => tensorOf({ base, shape, models });
  const near = (a: readonly number[], b: readonly number[], tolerance = 2e-6) => expectClose(a, b, tolerance);
  const length = (x: readonly number[]) => Math.hypot(...x);

  it('keeps what all models agree on', async () => {
    for (const name of ['linear', 'warm', 'ties', 'model_stock', 'karcher', 'fisher', 'regmean'] as const) {
      near(await merged(name, of(first, first), {}, [{}, {}]), first, 1e-5);
    }
  });

  it('slerp and karcher stay on the sphere, and meet in the middle', async () => {
    near(await merged('slerp', of(first), { t: 0 }, [{}]), base);
    near(await merged('slerp', of(first), { t: 1 }, [{}]), first);
    // A quarter turn, so that no chord is near: |a| = |b| stays.
    const turned = base.map((_, i) => (i % 2 === 0 ? -base[i + 1]! : base[i - 1]!));
    const middle = await merged('slerp', of(turned), { t: 0.5 }, [{}]);
    expect(length(middle)).toBeCloseTo(length(base), 4);
    near(await merged('karcher', of(base, turned), { max_iter: 30 }, [{}, {}]), middle, 1e-5);
  });

  it('task vectors that are kept whole are added, however they are chosen', async () => {
    const sum = first.map((x, i) => x + second[i]! - base[i]!);
    const whole = { density: 1, gamma: 0 };
    for (const name of ['task_arithmetic', 'dare_linear', 'della_linear', 'breadcrumbs'] as const) {
      near(await merged(name, of(first, second), {}, [whole, whole]), sum);
    }
    // Unlearning what was learnt.
    near(await merged('task_arithmetic', of(first, first), {}, [{}, { weight: -1 }]), base);
    // Opposite signs: the larger one alone; equal signs: their mean.
    const line = {
      base: [0, 0],
      shape: [1, 2] as const,
      models: [
        [3, 1],
        [-1, 2],
      ],
    };
    near(await merged('ties', tensorOf(line), {}, [{}, {}]), [3, 1.5]);
  });

  it('DARE and DELLA keep the mean', async () => {
    const draws = 4000;
    let state = 1;
    const next = () => {
      state = (state * 48271) % 2147483647;
      return state / 2147483647;
    };
    const row = { base: [0, 0, 0, 0], shape: [1, 4] as const, models: [[0.5, -1, 2, 0.25]] };
    for (const name of ['dare_linear', 'della_linear'] as const) {
      const mean = [0, 0, 0, 0];
      for (let i = 0; i < draws; i++) {
        const tensor = tensorOf(row, 1, () => Array.from({ length: 4 }, next));
        (await merged(name, tensor, {}, [{ density: 0.5, epsilon: 0.3 }])).forEach((x, j) => {
          mean[j]! += x / draws;
        });
      }
      // Four standard errors of the number that is kept least often.
      mean.forEach((x, j) => {
        const value = row.models[0]![j]!;
        expect(Math.abs(x - value)).toBeLessThan(4 * Math.abs(value) * Math.sqrt(4 / draws));
      });
    }
  });

  it('model stock goes to the mean of parallel differences, and to the base of orthogonal ones', async () => {
    const line = (models: number[][]) => tensorOf({ base: [1, 1], shape: [1, 2], models });
    near(
      await merged(
        'model_stock',
        line([
          [2, 1],
          [4, 1],
        ]),
        {},
        [{}, {}],
      ),
      [3, 1],
    );
    near(
      await merged(
        'model_stock',
        line([
          [2, 1],
          [1, 2],
        ]),
        {},
        [{}, {}],
      ),
      [1, 1],
    );
  });

  it('RegMean is where the error of the outputs has no slope', async () => {
    const w = await merged('regmean', tensorOf(golden), { alpha: 1 }, [{}, {}, {}]);
    const [rows, n] = shape;
    // d/dW of Σ ‖(W − Wᵢ) Xᵢᵀ‖² is 2·Σ (W − Wᵢ) Gᵢ.
    for (let row = 0; row < rows; row++) {
      for (let j = 0; j < n; j++) {
        let slope = 0;
        golden.models.forEach((model, m) => {
          for (let i = 0; i < n; i++) slope += (w[row * n + i]! - model[row * n + i]!) * golden.gram[m]![i * n + j]!;
        });
        expect(Math.abs(slope)).toBeLessThan(1e-4);
      }
    }
  });

  it('finds the k largest as sorting does', async () => {
    const values = Float32Array.from(base, (x, i) => (i % 5 === 0 ? 0.25 : Math.abs(x)));
    const parts = async function* () {
      yield values.slice(0, 20);
      yield values.slice(20);
    };
    const sorted = [...values].sort((a, b) => b - a);
    for (const k of [0, 1, 7, 30, 47, 48]) {
      const kept = [...values].filter(among(await largest(parts, k)));
      expect(kept.sort((a, b) => b - a)).toEqual(sorted.slice(0, k));
    }
  });
});

interface MergekitCase {
  readonly recipe: MergeRecipe;
  /** Of each tensor its norm, and its product with cos(0.7 j). */
  readonly tensors: Readonly<Record<string, readonly [norm: number, wave: number]>>;
}
const mergekit: { readonly cases: readonly MergekitCase[] } = JSON.parse(
  await readFile(join(goldens, 'mergekit/expected.json'), 'utf8'),
);

/** A folder of the golden Llama with every number changed by `change`. */
async function variant(change: (x: number, i: number) => number, edit: object = {}): Promise<string> {
  const folder = join(await temporaryFolder(), 'model');
  await cp(join(goldens, 'models/llama'), folder, { recursive: true });
  const source = await openSafetensorsFolder(join(goldens, 'models/llama'));
  const tensors = [];
  for (const [name, { shape }] of source.tensors) {
    const { data } = await source.read(name);
    tensors.push({ name, shape, dtype: 'float32' as const, data: Float32Array.from(data, change) });
  }
  await source.close();
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
  await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, ...edit }));
  return folder;
}
const llama = join(goldens, 'models/llama');
const output = async () => join(await temporaryFolder(), 'merged');
const weightsOf = async (folder: string) => {
  const source = await openSafetensorsFolder(folder);
  const all: Record<string, number[]> = {};
  for (const name of source.tensors.keys()) all[name] = [...(await source.read(name, { as: 'float32' })).data];
  await source.close();
  return all;
};

describe('mergeModels', () => {
  it("has mergekit's numbers", async () => {
    const made = [1, 2, 3].map((s) => variant((x, j) => x + 0.05 * Math.sin(s * s * j + s)));
    const [a, b, c] = await Promise.all(made);
    const folders: Readonly<Record<string, string>> = { base: llama, a: a!, b: b!, c: c! };
    for (const [i, { recipe, tensors }] of mergekit.cases.entries()) {
      const local = JSON.parse(JSON.stringify(recipe), (key, value) =>
        key === 'model' || key === 'base_model' ? folders[value as string] : value,
      );
      const to = await output();
      await mergeModels(local, { output: to });
      const weights = await weightsOf(to);
      expect(Object.keys(weights).sort()).toEqual(Object.keys(tensors).sort());
      for (const [name, [length, wave]] of Object.entries(tensors)) {
        const found = weights[name]!;
        const product = found.reduce((sum, x, j) => sum + x * Math.cos(0.7 * j), 0);
        const apart = Math.max(Math.abs(Math.hypot(...found) - length), Math.abs(product - wave));
        expect(apart, `${recipe.merge_method} ${i}: ${name}`).toBeLessThan(1e-5 * Math.max(1, length));
      }
    }
  });

  it('merges folders that are read part by part, to a model that loads', async () => {
    const [a, b] = [await variant((x) => 1.5 * x), await variant((x, i) => x + (i % 3) / 64)];
    const recipe: MergeRecipe = {
      ...{ merge_method: 'dare_ties', base_model: llama, dtype: 'bfloat16' },
      models: [{ model: llama }, { model: a, parameters: { weight: [0.2, 0.8] } }, { model: b }],
      parameters: { density: 0.5, weight: [{ filter: 'mlp', value: 0.5 }, { value: 0.25 }] },
    };
    const whole = await output();
    const { tensors, files } = await mergeModels(recipe, { output: whole, randomSeed: 3 });
    expect(files).toEqual(['model.safetensors']);
    expect(tensors).toBe(Object.keys(await weightsOf(llama)).length);

    // Nothing is held but one part of each model.
    const held = new Map<string, Set<ArrayBufferLike>>();
    const file = await openSafetensorsFolder(llama);
    const read = vi.spyOn(Object.getPrototypeOf(file) as TensorSource, 'read');
    await file.close();
    const parts = await output();
    await mergeModels(recipe, { output: parts, randomSeed: 3, partNumbers: 64 });
    for (const [name, { into, range } = {}] of read.mock.calls) {
      expect(range![1] - range![0]).toBeLessThanOrEqual(64);
      held.set(name, (held.get(name) ?? new Set()).add(into!.buffer));
    }
    read.mockRestore();
    const bytes = [...held.values()].map((buffers) =>
      [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0),
    );
    expect(Math.max(...bytes)).toBe(3 * 64 * 4);
    const bits = (folder: string) => readFile(join(folder, 'model.safetensors'));
    expect((await bits(parts)).equals(await bits(whole))).toBe(true);

    const { config } = await loadWeights(whole);
    expect(config.dtype).toBe('bfloat16');
    expect(await readMergeRecipe(join(whole, 'mergekit_config.yml'))).toEqual(recipe);
  });

  it('says of each tensor what its setting is: by layer, by name, by slice', async () => {
    const a = await variant((x) => 3 * x);
    const to = await output();
    await mergeModels(
      {
        ...{ merge_method: 'slerp', base_model: llama },
        slices: [
          {
            sources: [
              { model: llama, layer_range: [0, 1] },
              { model: a, layer_range: [1, 2] },
            ],
            parameters: { t: 1 },
          },
          {
            sources: [
              { model: llama, layer_range: [0, 2] },
              { model: a, layer_range: [0, 2] },
            ],
          },
        ],
        parameters: { t: [{ filter: 'mlp', value: [0, 1] }, { value: 0.5 }] },
      },
      { output: to },
    );
    const [base, made] = [await weightsOf(llama), await weightsOf(to)];
    const q = (layer: number) => `model.layers.${layer}.self_attn.q_proj.weight`;
    const gate = (layer: number) => `model.layers.${layer}.mlp.gate_proj.weight`;
    const times = (name: string, factor: number) => base[name]!.map((x) => factor * x);
    expectClose(made[q(0)]!, times(q(1), 3), 1e-5);
    expectClose(made[q(1)]!, times(q(0), 2), 1e-5);
    expectClose(made[gate(1)]!, times(gate(0), 1), 1e-5);
    expectClose(made[gate(2)]!, times(gate(1), 3), 1e-5);
    expect(JSON.parse(await readFile(join(to, 'config.json'), 'utf8')).num_hidden_layers).toBe(3);
    expect((await loadWeights(to)).config.numHiddenLayers).toBe(3);
  });

  it('refuses what cannot be meant, by its place, and writes nothing', async () => {
    const other = await variant((x) => x, { num_attention_heads: 2 });
    const a = { model: llama };
    const heavy = (weight: number) => ({ ...a, parameters: { weight } });
    // What an alias of YAML can make: models: &a [*a].
    const itself: unknown[] = [];
    itself.push(itself);
    const cases: [recipe: object, message: RegExp][] = [
      [{ models: [a] }, /recipe: merge_method is missing/],
      [{ merge_method: 'tie', models: [a] }, /Did you mean "ties"/],
      [{ merge_method: 'linear', model: [a] }, /unknown option "?model"?.*models/i],
      [{ merge_method: 'linear', models: [{ ...a, weight: 1 }] }, /recipe: models\[0\].*weight/],
      [{ merge_method: 'linear', models: [{ ...a, parameters: { wieght: 1 } }] }, /models\[0\]\.parameters.*weight/],
      [{ merge_method: 'linear', models: [{ ...a, parameters: { weight: 'x' } }] }, /models\[0\].*weight is "x"/],
      [{ merge_method: 'linear', models: [a], parameters: { t: 1 } }, /recipe: parameters.*"?t"?/],
      [{ merge_method: 'linear', models: [a], tokenizer: {} }, /use tokenizer_source/],
      [{ merge_method: 'linear' }, /either models or slices/],
      [{ merge_method: 'ties', models: [a] }, /needs? ?.*base_model|base_model, which is not named/],
      [{ merge_method: 'slerp', base_model: llama, models: [a] }, /merges 1 models beside the base_model, not 0/],
      [{ merge_method: 'warm', models: [a, { model: other }] }, /different architectures: num_attention_heads/],
      [{ merge_method: 'linear', models: [a], tokenizer_source: 'union' }, /tokenizer_source "union"/],
      [{ merge_method: 'fisher', models: [a, a] }, /models\[0\].parameters.*fisher is missing/],
      [{ merge_method: 'linear', models: itself }, /models is \[\[\[\[…\]/],
      [
        { merge_method: 'linear', models: [heavy(1e300), a], parameters: { normalize: false } },
        /would have the number \S+e\+29\d; float32 cannot hold it/,
      ],
      [
        { merge_method: 'linear', models: [heavy(1e7)], dtype: 'float16', parameters: { normalize: false } },
        /would have the number -?\d+(\.\d+)?; float16 cannot hold it: take another dtype/,
      ],
      [
        { merge_method: 'passthrough', slices: [{ sources: [{ ...a, layer_range: [0, 9] }] }] },
        /slices\[0\]\.sources\[0\]: .* has layers \[0, 2\), not \[0,9\]/,
      ],
    ];
    for (const [recipe, message] of cases) {
      const to = await output();
      await expect(mergeModels(recipe as MergeRecipe, { output: to }), String(message)).rejects.toThrow(message);
      expect(await readdir(dirname(to))).toEqual([]);
    }
  });

  it('runs from the command line', async () => {
    const folder = await temporaryFolder();
    const recipe = join(folder, 'recipe.yaml');
    await mkdir(folder, { recursive: true });
    await writeFile(
      recipe,
      `merge_method: linear # a soup\nmodels:\n  - model: ${llama}\n    parameters: {weight: 1}\n`,
    );
    const [printed, said]: [string[], string[]] = [[], []];
    const run = (...args: string[]) =>
      mergeCommand(
        args,
        (text) => printed.push(text),
        (text) => said.push(text),
      );
    expect(await run('merge', recipe, '--output', join(folder, 'out'))).toBe(0);
    expect([printed.length, said.length]).toEqual([1, 0]);
    expect(await weightsOf(join(folder, 'out'))).toEqual(await weightsOf(llama));
    expect(await run('merge', recipe, '--outptu', 'x')).toBe(2);
    await writeFile(recipe, 'merge_method: linear\nmodles: []\n');
    expect(await run('merge', recipe)).toBe(1);
    expect(said.at(-1)).toMatch(/recipe\.yaml.*modles.*models/s);
    await writeFile(recipe, 'a: [');
    expect(await run('merge', recipe)).toBe(1);
    expect(said.at(-1)).toMatch(/not one document of YAML/);
    const bomb = Array.from({ length: 12 }, (_, i) => `a${i}: &a${i} [${i === 0 ? 1 : `*a${i - 1}, *a${i - 1}`}]`);
    await writeFile(recipe, bomb.join('\n'));
    expect(await run('merge', recipe)).toBe(1);
    expect(said.at(-1)).toMatch(/not one document of YAML: Excessive alias count/);
  });
});

interface WeightedCase {
  readonly base: string;
  readonly adapters: readonly string[];
  readonly weights: readonly number[];
  readonly combinationType: Required<WeightedAdapterOptions>['combinationType'];
  readonly options: Readonly<Record<string, number | string>>;
  readonly rank: number;
  readonly logits: readonly number[];
}
const weighted: { readonly tokens: readonly number[]; readonly cases: readonly WeightedCase[] } = JSON.parse(
  await readFile(join(goldens, 'weighted-adapters/expected.json'), 'utf8'),
);
const OURS: Readonly<Record<string, string>> = {
  svd_rank: 'svdRank',
  majority_sign_method: 'majoritySignMethod',
  density: 'density',
};

/** Logits of the last token. */
async function lastLogits({ network, weights }: CausalLM, tokens: readonly number[], adapter: Adapter) {
  const hooks = adapter.hooks(adapter.parameters);
  const hidden = network.hidden(weights, inputOf(tokens, [1, tokens.length]), hooks);
  return network
    .logits(weights, hidden.reshape([tokens.length, hidden.shape[2]!]), hooks)
    .slice(0, tokens.length - 1, tokens.length)
    .toArray();
}

const adaptersOf = async (model: CausalLM, base: string, names: readonly string[]) =>
  Promise.all(
    names.map(
      async (name) =>
        (await loadAdapter(model, join(goldens, `weighted-adapters/${base}-${name}`), {
          name,
        })) as PeftAdapter<LoraConfig>,
    ),
  );

it('federated averaging of factors leaves out a quarter of (B_1 - B_2) (A_1 - A_2) of the mean of products', async () => {
  const model = await baseOf('llama');
  const key = 'model.layers.0.self_attn.q_proj';
  const config = { r: 2, loraAlpha: 2, targetModules: [key], initLoraWeights: false };
  const adapters = await Promise.all([1, 2].map((seed) => createAdapter(model, lora, config, { seed })));
  const clients = Object.fromEntries(
    adapters.map(({ parameters }, i) => [`${i}`, async () => ({ parameters, examples: 10 })]),
  );
  const { parameters } = await fedAvg({ parameters: adapters[0]!.parameters, clients, rounds: 1 });
  const mean = await addWeightedAdapter(model, adapters, { weights: [0.5, 0.5], combinationType: 'svd', svdRank: 4 });
  const factor = (from: PeftAdapter['parameters'], name: 'A' | 'B') => from[`${key}.lora_${name}.weight`]!;
  const product = (from: PeftAdapter['parameters']) => factor(from, 'B').matmul(factor(from, 'A'));
  const apart = (name: 'A' | 'B') => factor(adapters[0]!.parameters, name).sub(factor(adapters[1]!.parameters, name));
  const left = product(mean.parameters).sub(product(parameters));
  expectClose(await left.toArray(), await apart('B').matmul(apart('A')).mul(0.25).toArray(), 1e-5);
});

describe('addWeightedAdapter', () => {
  it.each(weighted.cases.map((entry, i) => [`${entry.base} ${entry.combinationType} ${i}`, entry] as const))(
    '%s is what PEFT makes of them',
    async (_, { base, adapters: names, weights, combinationType, options, rank, logits }) => {
      const model = await baseOf(base);
      const adapters = await adaptersOf(model, base, names);
      const renamed = Object.fromEntries(Object.entries(options).map(([name, value]) => [OURS[name]!, value]));
      const made = await addWeightedAdapter(model, adapters, { weights, combinationType, ...renamed });
      expect(made.config.r).toBe(rank);
      expectClose(await lastLogits(model, weighted.tokens, made), logits, 2e-4);
    },
  );

  it('cat is the sum of what the adapters add to a weight, and comes back from files', async () => {
    const model = await baseOf('llama');
    const adapters = await adaptersOf(model, 'llama', ['a', 'c']);
    const made = await addWeightedAdapter(model, adapters, { weights: [2, -1], combinationType: 'cat' });
    const folder = await temporaryFolder();
    await saveAdapter(folder, made);
    const { model: sum } = await mergeAdapter(model, await loadAdapter(model, folder));
    const name = 'model.layers.0.self_attn.q_proj.weight';
    const [a, c] = await Promise.all(
      adapters.map(async (one) => (await mergeAdapter(model, one)).model.weights[name]!),
    );
    const w = model.weights[name]!;
    const expected = await w.add(a!.sub(w).mul(2)).sub(c!.sub(w)).toArray();
    expectClose(await sum.weights[name]!.toArray(), expected, 1e-5);
  });

  it('refuses what has no sum', async () => {
    const model = await baseOf('llama');
    const [a, c] = await adaptersOf(model, 'llama', ['a', 'c']);
    const dora = await createAdapter(model, lora, { useDora: true });
    const add = (adapters: PeftAdapter<LoraConfig>[], given: WeightedAdapterOptions) =>
      addWeightedAdapter(model, adapters, given);
    await expect(add([a!, c!], { weights: [1] })).rejects.toThrow(/as many weights/);
    await expect(add([a!, c!], { weights: [1, 1], combinationType: 'linear' })).rejects.toThrow(
      /one rank, not of 2 and 3/,
    );
    await expect(add([a!, c!], { weights: [1, 1], combinationType: 'ties_svd' })).rejects.toThrow(/needs a density/);
    await expect(add([a!, dora], { weights: [1, 1] })).rejects.toThrow(/DoRA/);
  });
});

describe('extractLora', () => {
  it.each(['llama', 'gpt2'])('finds the adapter that was merged into %s', async (base) => {
    const model = await baseOf(base);
    const [b] = await adaptersOf(model, base, ['b']);
    const { model: tuned } = await mergeAdapter(model, b!);
    const { adapter, residuals, leftOut } = await extractLora(model, tuned, { r: 2 });
    expect(leftOut).toEqual([]);
    expect(Math.max(...Object.values(residuals))).toBeLessThan(1e-3);
    expectClose(await lastLogits(model, weighted.tokens, adapter), await lastLogits(model, weighted.tokens, b!), 1e-3);
    // Of rank 1 the error is what Eckart and Young say: the second singular value's share.
    const half = await extractLora(model, tuned, { r: 1 });
    const name = Object.keys(residuals).find((module) => /q_proj|c_attn/.test(module))!;
    expect(half.residuals[name]!).toBeGreaterThan(0.05);
    expect(half.residuals[name]!).toBeLessThan(Math.SQRT1_2 + 1e-6);
    const narrow = extractLora(model, tuned, {
      r: 2,
      targetModules: ['up_proj', 'c_fc'].slice(base === 'gpt2' ? 1 : 0, base === 'gpt2' ? 2 : 1),
    });
    await expect(narrow).rejects.toThrow(/differ in \d+ weights that the adapter does not enter/);
  });
});

describe('greedySoup', () => {
  it('takes in what does not make it worse', async () => {
    const models = await Promise.all([1.25, 0.5, 1.75].map((factor) => variant((x) => factor * x)));
    const asked = (await weightsOf(llama))['model.norm.weight']![0]!;
    // The nearer the first number is to its own, the better: 1.25 and 0.5 make 0.875; with 1.75 it would be 1.17.
    const evaluate = async (folder: string) => -Math.abs((await weightsOf(folder))['model.norm.weight']![0]! - asked);
    const to = await output();
    const { ingredients, score, scores } = await greedySoup({ models, evaluate, output: to });
    expect(ingredients).toEqual([models[0], models[1]]);
    expect(score).toBeGreaterThan(Math.max(...Object.values(scores)));
    expect(await evaluate(to)).toBe(score);
  });
});

it('gramMatrices are those of the inputs, and RegMean reads them from a folder', async () => {
  const model = await baseOf('llama');
  const folder = await temporaryFolder();
  await saveGramMatrices(folder, model, [
    [3, 7, 1],
    [5, 9],
  ]);
  // The first layer's inputs, by a hook of its own.
  const seen: number[][] = [];
  for (const row of [
    [3, 7, 1],
    [5, 9],
  ]) {
    let input: Tensor | undefined;
    const hooks: LayerHooks = {
      linear(x, layer) {
        if (layer.name === 'model.layers.0.self_attn.q_proj') input = x;
        return layer.apply(x);
      },
    };
    model.network.hidden(model.weights, inputOf(row, [1, row.length]), hooks);
    const flat = await input!.toArray();
    const width = flat.length / row.length;
    for (let i = 0; i < row.length; i++) seen.push(flat.slice(i * width, (i + 1) * width));
  }
  const name = 'model.layers.0.self_attn.q_proj.weight';
  const gram = (await weightsOf(folder))[name]!;
  const width = seen[0]!.length;
  const expected = Array.from({ length: width * width }, (_, i) =>
    seen.reduce((sum, x) => sum + x[Math.floor(i / width)]! * x[i % width]!, 0),
  );
  expectClose(gram, expected, 1e-4);
  const other = await variant((x) => 2 * x);
  const to = await output();
  const each = (source: string) => ({ model: source, parameters: { gram: folder } });
  await mergeModels({ merge_method: 'regmean', models: [each(llama), each(other)] }, { output: to });
  // With the same inputs RegMean is the mean.
  expectClose(
    (await weightsOf(to))[name]!,
    (await weightsOf(llama))[name]!.map((x) => 1.5 * x),
    1e-3,
  );
});
