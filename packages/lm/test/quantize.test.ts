import { cp, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Engine, type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import { describe, expect, it } from 'vitest';
import { modelOf } from '../../peft/test/model.js';
import {
  CausalLM,
  exportGenerator,
  LocalGenerator,
  loadWeights,
  ModelRunner,
  type Network,
  networkOf,
  type QuantizationOptions,
  saveWeights,
  sequenceLogProbs,
  type Weights,
} from '../src/index.js';
import { generateExported } from './exported-generator.js';
import {
  decodeAll,
  ENGINES,
  largestDifference,
  modelFolder,
  rowOf,
  temporaryFolder,
  tinyModel,
  tokenizerFolder,
} from './support.js';

const golden = (name: string): string => join(import.meta.dirname, '../../../goldens/quantization', name);

const QUANTIZED: readonly [string, string, QuantizationOptions][] = [
  ['llama-nf4', 'llama', { method: 'nf4' }],
  ['llama-fp4', 'llama', { method: 'fp4', doubleQuantization: false }],
  ['llama-int8', 'llama', { method: 'int8' }],
  ['gpt2-nf4', 'gpt2', { method: 'nf4' }],
];

async function tensorsOf(folder: string) {
  const file = await openSafetensors(join(folder, 'model.safetensors'));
  const tensors: Record<string, unknown> = {};
  for (const name of file.tensors.keys()) tensors[name] = await file.read(name);
  await file.close();
  return tensors;
}

const configOf = async (folder: string) => JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));

async function logitsOf(
  { network, weights }: { network: Network; weights: Weights },
  tokens: Tensor,
): Promise<number[]> {
  const [b, s] = tokens.shape as [number, number];
  const positions = tensor(
    Int32Array.from({ length: b * s }, (_, i) => i % s),
    [b, s],
  );
  const segments = tensor(new Int32Array(b * s), [b, s]);
  const hidden = network.hidden(weights, { tokens, positions, segments });
  return hidden
    .reshape([b * s, hidden.shape[2]!])
    .matmul(network.head(weights), { transposeB: true })
    .toArray();
}

async function goldenLogits(folder: string) {
  const file = await openSafetensors(join(golden(folder), 'expected.safetensors'));
  const [ids, logits] = [await file.read('input_ids'), await file.read('logits')];
  await file.close();
  return { tokens: tensor(ids.data, ids.shape, 'int32'), logits: logits.data };
}

describe('quantised folders', () => {
  it.each(QUANTIZED)('%s: what transformers quantised is read, and written again byte for byte', async (name) => {
    const { config, weights, network } = await loadWeights(golden(name));
    const folder = await temporaryFolder();
    await saveWeights(folder, config, weights, {}, undefined, network);
    expect(await tensorsOf(folder)).toEqual(await tensorsOf(golden(name)));
    const [ours, theirs] = [await configOf(folder), await configOf(golden(name))];
    expect(ours.quantization_config).toEqual(theirs.quantization_config);
    // As text: transformers refuses the number 6 where it wants 6.0.
    const line = async (where: string) =>
      /.*llm_int8_threshold.*/.exec(await readFile(join(where, 'config.json'), 'utf8'))![0];
    expect(await line(folder)).toBe(await line(golden(name)));
  });

  it.each(QUANTIZED)(
    '%s: a float folder quantised here is the one transformers quantised',
    async (name, base, options) => {
      const { config, weights, network } = await loadWeights(modelFolder(base), { quantization: options });
      const folder = await temporaryFolder();
      await saveWeights(folder, config, weights, {}, undefined, network);
      expect(await tensorsOf(folder)).toEqual(await tensorsOf(golden(name)));
      expect((await configOf(folder)).quantization_config).toEqual((await configOf(golden(name))).quantization_config);
    },
  );

  describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
    const engine = makeEngine();
    it.each(QUANTIZED)('%s: logits are those of the dequantised weights', (name) =>
      onEngine(engine, async () => {
        const { tokens, logits } = await goldenLogits(name);
        const error = largestDifference(await logitsOf(await loadWeights(golden(name)), tokens), logits);
        // LLM.int8() rounds activations too.
        expect(error).toBeLessThan(name.endsWith('int8') ? 0.2 : 1e-4);
      }),
    );
  });

  it('refuses what does not fit', async () => {
    await expect(loadWeights(golden('llama-nf4'), { quantization: { method: 'nf4' } })).rejects.toThrow(
      /quantised already \(nf4\)/,
    );
    const load = (quantization: object) =>
      loadWeights(modelFolder('llama'), { quantization: quantization as QuantizationOptions });
    await expect(load({ method: 'nf5' })).rejects.toThrow(/method "nf5" is not one of nf4/);
    await expect(load({ method: 'nf4', skip: ['q_prj'] })).rejects.toThrow(/Did you mean "q_proj"/);
    await expect(load({ method: 'nf4', blocksize: 64 })).rejects.toThrow(/blockSize/);
    const { config, weights, network } = await load({ method: 'int4' });
    await expect(saveWeights(await temporaryFolder(), config, weights, {}, undefined, network)).rejects.toThrow(
      /no form for: save model.dequantize\(\)/,
    );
  });
});

const METHODS: readonly QuantizationOptions[] = [
  { method: 'nf4' },
  { method: 'int8' },
  { method: 'int4', blockSize: 16 },
];

describe('int4 in generation', () => {
  const INT4: readonly QuantizationOptions[] = [
    { method: 'int4', blockSize: 16 },
    { method: 'int4', symmetric: true },
    { method: 'int4', blockSize: 16, activations: 'int8' },
  ];

  it.each(INT4)('%o: packed from the first pass, which changes no logits', async (options) => {
    const inner = onnxruntimeEngine();
    let packedGraphs = 0;
    const engine: Engine = Object.assign(Object.create(inner) as Engine, {
      compile: (...[graph, given]: Parameters<Engine['compile']>) => {
        if (given.constants) packedGraphs++;
        return inner.compile(graph, given);
      },
    });
    await onEngine(engine, async () => {
      const model = await (await tinyModel()).quantize(options);
      const other = await (await tinyModel(undefined, {}, 5)).quantize(options);
      const [packed, unpacked] = [new ModelRunner(model), new ModelRunner(model, { packWeights: false })];
      const read = async (runner: ModelRunner) => {
        const sequence = runner.start();
        const rows: Float32Array[] = [];
        // One row, a few, and many; then a row at a time.
        for (const tokens of [[5], [17, 3], Array.from({ length: 40 }, (_, i) => (7 * i) % 60), [2], [9]]) {
          const [result] = await runner.extend([{ sequence, tokens }], { logits: 'all' });
          rows.push(...result!.logits.map((row) => Float32Array.from(row)));
        }
        runner.release(sequence);
        return rows;
      };
      const wanted = await read(unpacked);
      expect(packedGraphs).toBe(0);
      const got = await read(packed);
      expect(packedGraphs).toBeGreaterThan(0);
      for (const [i, row] of wanted.entries()) expect(largestDifference(row, got[i]!)).toBeLessThan(1e-4);
      // Weights that are replaced are forgotten.
      unpacked.reset(other.weights);
      packed.reset(other.weights);
      const [afterwards, changed] = [await read(unpacked), await read(packed)];
      for (const [i, row] of afterwards.entries()) expect(largestDifference(row, changed[i]!)).toBeLessThan(1e-4);
      expect(largestDifference(changed.at(-1)!, got.at(-1)!)).toBeGreaterThan(0.01);
    });
  });

  it('rounds activations only where that was asked for', async () => {
    const model = await tinyModel();
    const logits = async (options: QuantizationOptions) => {
      const quantized = await model.quantize(options);
      const runner = new ModelRunner(quantized);
      const [result] = await runner.extend([{ sequence: runner.start(), tokens: [5, 17, 3] }]);
      return Float32Array.from(result!.logits[0]!);
    };
    const [exact, rounded] = [await logits({ method: 'int4' }), await logits({ method: 'int4', activations: 'int8' })];
    const scale = Math.max(...exact.map(Math.abs));
    expect(largestDifference(exact, rounded) / scale).toBeGreaterThan(1e-5);
    expect(largestDifference(exact, rounded) / scale).toBeLessThan(0.05);
  });
});

describe('a quantised model', () => {
  it.each(METHODS)('$method: generates what its dequantised weights generate, and scores alike', async (options) => {
    const model = await (await tinyModel()).quantize(options);
    const plain = await model.dequantize();
    const request = { prompt: 'The cat', maxTokens: 8, temperature: 0 };
    const text = async (m: CausalLM) => (await new LocalGenerator(m).generate([request]))[0]![0]!;
    const sequence = [5, 17, 3, 99, 41, 12];
    const [a, b] = await Promise.all(
      [model, plain].map(async (m) => (await sequenceLogProbs(m, [sequence]))[0]!.logProbs),
    );
    expect(largestDifference(a!, b!)).toBeLessThan(options.method === 'int8' ? 0.3 : 1e-4);
    if (options.method !== 'int8') expect((await text(model)).text).toBe((await text(plain)).text);
    else expect((await text(model)).text).not.toBe('');
  });

  it.each([
    { method: 'nf4', operators: 'contrib' },
    { method: 'nf4', operators: 'standard' },
    { method: 'int4', operators: 'contrib', dtype: 'float16' },
    { method: 'int8', operators: 'contrib' },
  ] as const)('$method, $operators: is exported in its codes, which generate the same', async (options) => {
    const { method, ...exporting } = options;
    const model = await (await tinyModel('byte-level-bpe', { hidden_size: 64, intermediate_size: 128 })).quantize({
      method,
    });
    const folder = await temporaryFolder();
    const manifest = await exportGenerator(model, folder, { capacity: 16, promptWidth: 4, ...exporting });
    const prompt = [5, 17, 3, 99, 41];
    const { tokens } = await generateExported(folder, manifest, prompt, 6);
    const wanted = await decodeAll(model, [rowOf(prompt, 6)]);
    expect(tokens).toEqual(wanted.tokens[0]);
    // The codes and what is beside them, once, in a file of aligned tensors.
    const { size } = await stat(join(folder, manifest.files.weights));
    expect(size).toBeLessThan(1.2 * model.storage.bytes);
  });

  it('says what its weights take, and leaves what it is told to', async () => {
    const model = await tinyModel('byte-level-bpe', { hidden_size: 64, intermediate_size: 128 });
    const float = model.storage;
    expect(float).toMatchObject({ bitsPerParameter: 32, quantizedParameters: 0, bytes: 4 * float.parameters });
    const quantized = await model.quantize({ method: 'nf4', skip: ['down_proj'] });
    const { parameters, quantizedParameters, bytes } = quantized.storage;
    // Two layers of q and o [64, 64], k and v [32, 64], gate and up [128, 64].
    expect(quantizedParameters).toBe(2 * (2 * 64 * 64 + 2 * 32 * 64 + 2 * 128 * 64));
    expect(parameters).toBe(float.parameters);
    const codes = quantizedParameters * (4 / 8 + 1 / 64);
    // Beside the codes a mean a weight, and a scale for every 256 blocks begun.
    expect(bytes).toBe(4 * (parameters - quantizedParameters) + codes + 12 * 4 + 12 * 4);
    expect(quantized.weights['model.layers.0.mlp.down_proj.weight']!.dtype).toBe('float32');
    await expect(quantized.quantize({ method: 'nf4' })).rejects.toThrow(/quantised already/);
    expect((await quantized.dequantize()).storage).toEqual(float);
    expect((await quantized.dequantize()).config).toEqual(model.config);
  });

  it('comes back from its folder, transposed layers too', async () => {
    const model = await (await tinyModel('byte-level-bpe', { model_type: 'gpt2' })).quantize({ method: 'nf4' });
    const folder = await temporaryFolder();
    await cp(tokenizerFolder('byte-level-bpe'), folder, { recursive: true });
    await model.save(folder);
    const again = await CausalLM.load(folder);
    expect(again.storage).toEqual(model.storage);
    const sequence = [[5, 17, 3, 99]];
    expect(await sequenceLogProbs(again, sequence)).toEqual(await sequenceLogProbs(model, sequence));
    // Nothing of the quantised form is left when the float model is saved over it.
    await (await again.dequantize()).save(folder);
    expect((await configOf(folder)).quantization_config).toBeUndefined();
    expect([...networkOf((await CausalLM.load(folder)).config).modules.values()].some((m) => m.quantization)).toBe(
      false,
    );
    expect((await CausalLM.load(folder)).storage.bitsPerParameter).toBe(32);
  });
});

describe('GPTQ of a model', () => {
  const rows = Array.from({ length: 12 }, (_, i) =>
    Array.from({ length: 16 }, (__, t) => (7 * i + 3 * t * (1 + (i % 3))) % 61),
  );
  const tokens = tensor(Int32Array.from(rows.flat()), [12, 16], 'int32');
  const gptqOptions = { method: 'gptq', rows, groupSize: 32 } as const;

  it.each(['llama', 'gpt2'])(
    '%s: its logits are nearer to the float ones than those of rounding to the nearest',
    async (name) => {
      const model = modelOf(await loadWeights(modelFolder(name)), name);
      const [float, near] = [await logitsOf(model, tokens), await model.quantize({ method: 'int4', blockSize: 32 })];
      const calibrated = await model.quantize(gptqOptions);
      const error = async (of: CausalLM) => {
        const logits = await logitsOf(of, tokens);
        return logits.reduce((sum, x, i) => sum + (x - float[i]!) ** 2, 0);
      };
      const [ours, rounded] = [await error(calibrated), await error(near)];
      expect(ours).toBeLessThan(0.8 * rounded);
      expect(ours).toBeGreaterThan(0);
      // The same storage, and products with codes are products with what they stand for.
      expect(calibrated.storage).toEqual(near.storage);
      expect(
        largestDifference(await logitsOf(await calibrated.dequantize(), tokens), await logitsOf(calibrated, tokens)),
      ).toBeLessThan(1e-3);
    },
  );

  it('refuses what cannot be calibrated', async () => {
    const model = await tinyModel();
    await expect(model.quantize({ ...gptqOptions, rows: [] })).rejects.toThrow(/rows is .*list of lists of token ids/);
    await expect(model.quantize({ ...gptqOptions, skip: ['q_prj'] })).rejects.toThrow(/Did you mean "q_proj"/);
    await expect(model.quantize({ ...gptqOptions, groupSize: 24 })).rejects.toThrow(/24 is not one of/);
    const quantized = await model.quantize({ method: 'int4', blockSize: 16 });
    await expect(quantized.quantize(gptqOptions)).rejects.toThrow(/quantised already/);
    const load = loadWeights(modelFolder('llama'), {
      quantization: { method: 'gptq' } as unknown as QuantizationOptions,
    });
    await expect(load).rejects.toThrow(/needs the loaded model/);
  });
});
