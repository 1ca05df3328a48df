import { readdir } from 'node:fs/promises';
import { referenceEngine, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { type Int4Weight, quantizeInt4 } from '@posttrain/core-tensor/quantization';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  CausalLM,
  exportGenerator,
  ModelRunner,
  type QuantizationOptions,
  SequenceClassifier,
  sequenceLogProbs,
  stepTagVerifier,
  ValueModel,
} from '../src/index.js';
import { generateExported } from './exported-generator.js';
import { decodeAll, ENGINES, largestDifference, rowOf, temporaryFolder, tinyModel } from './support.js';

const onnxruntime = ENGINES.find(([name]) => name === 'onnxruntime')![1]();
beforeAll(() => setEngine(onnxruntime));

type Int4Options = Extract<QuantizationOptions, { method: 'int4' }>;
const INT4: Int4Options = { method: 'int4', head: true };

/** 80 features are two blocks of 32 and half a block. */
const WIDE = { hidden_size: 80, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 20, initializer_range: 0.2 };
const KINDS: readonly [name: string, config: Record<string, unknown>, embedding: string][] = [
  ['untied', { tie_word_embeddings: false }, 'model.embed_tokens'],
  ['tied', { tie_word_embeddings: true }, 'model.embed_tokens'],
  ['gpt2, tied', { model_type: 'gpt2', n_embd: 80, n_head: 4, initializer_range: 0.2 }, 'transformer.wte'],
  [
    'gemma2, tied, capped',
    // So small a cap that it bends every logit.
    { model_type: 'gemma2', query_pre_attn_scalar: 20, final_logit_softcapping: 2 },
    'model.embed_tokens',
  ],
];
const modelOf = (config: Record<string, unknown>) => tinyModel('byte-level-bpe', { ...WIDE, ...config });

const floats = async (x: Tensor): Promise<Float32Array> => Float32Array.from(await x.data());

/** What codes stand for, unpacked by hand: element i of a row in the low half of byte i / 2 for even i, else in the high half. */
function unpacked({ parts, shape, blockSize }: Int4Weight): Float32Array {
  const [rows, width] = shape as [number, number];
  const blocks = Math.ceil(width / blockSize);
  const half = (bytes: ArrayLike<number>, at: number) => (at % 2 === 0 ? bytes[at >> 1]! & 15 : bytes[at >> 1]! >> 4);
  const [codes, zeros] = [parts.codes.data as Uint8Array, parts.zeroPoints?.data as Uint8Array | undefined];
  return Float32Array.from({ length: rows * width }, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    const block = Math.floor(column / blockSize);
    const zero = zeros ? half(zeros.subarray(row * Math.ceil(blocks / 2)), block) : 8;
    const code = half(codes.subarray(row * blocks * (blockSize / 2)), column);
    return (code - zero) * (parts.scales.data as Float32Array)[row * blocks + block]!;
  });
}

/** Each block as whole multiples of its largest / 127. */
function rounded(x: Float32Array, blockSize: number): number[] {
  const result = [...x];
  for (let start = 0; start < x.length; start += blockSize) {
    const block = result.slice(start, start + blockSize);
    const unit = Math.max(...block.map(Math.abs)) / 127;
    block.forEach((value, i) => {
      result[start + i] = Math.round(value / unit) * unit;
    });
  }
  return result;
}

/** Logits of a hidden state by hand, in double precision. */
function logitsByHand(state: readonly number[], matrix: Float32Array, cap: number | undefined): number[] {
  const width = state.length;
  return Array.from({ length: matrix.length / width }, (_, row) => {
    const logit = state.reduce((sum, value, i) => sum + value * matrix[row * width + i]!, 0);
    return cap === undefined ? logit : cap * Math.tanh(logit / cap);
  });
}

/** The output layer's codes, made of the float model's matrix. */
async function codesOf(model: CausalLM, { method: _, head: __, skip: ___, ...options }: Int4Options) {
  const matrix = model.network.head(model.weights);
  return quantizeInt4({ data: await floats(matrix), shape: matrix.shape }, options);
}

/** Every stored number of a model's weights. */
async function numbersOf({ weights }: CausalLM): Promise<Record<string, readonly number[]>> {
  const entries = Object.entries(weights).map(async ([name, w]) => [name, [...(await w.data())]] as const);
  return Object.fromEntries(await Promise.all(entries));
}

describe.each(KINDS)('a quantised output layer, %s', (_, config, embedding) => {
  it('has codes of its own; the embedding stays as it was', async () => {
    const float = await modelOf(config);
    const model = await float.quantize(INT4);
    const { parts } = await codesOf(float, INT4);
    for (const [part, { data }] of Object.entries(parts)) {
      const name = part === 'codes' ? 'lm_head.weight' : `lm_head.weight.${part}`;
      expect([...(await model.weights[name]!.data())], name).toEqual([...data]);
    }
    expect(await floats(model.weights[`${embedding}.weight`]!)).toEqual(
      await floats(float.weights[`${embedding}.weight`]!),
    );
    const head = model.network.modules.get('lm_head')!;
    expect(head.quantization).toMatchObject({ method: 'int4', shape: [head.outFeatures, head.inFeatures] });
    expect(head.tiedTo).toBeUndefined();
    expect(model.config.tieWordEmbeddings).toBe(false);
    expect(model.network.modules.get(embedding)!.quantization).toBeUndefined();
  });

  const options: readonly Partial<Int4Options>[] = [
    {},
    { symmetric: true, activations: 'int8' },
    { blockSize: 16, activations: 'int8' },
  ];
  describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
    const engine = makeEngine();
    it.each(options)('%o: logits are those computed by hand', (given) =>
      onEngine(engine, async () => {
        const asked = { ...INT4, ...given };
        const float = await modelOf(config);
        const model = await float.quantize(asked);
        const weight = await codesOf(float, asked);
        const matrix = unpacked(weight);
        const cap = model.network.logitSoftCap;
        expect(cap).toBe(config.final_logit_softcapping);
        for (const packWeights of [true, false]) {
          const runner = new ModelRunner(model, { packWeights });
          const [result] = await runner.extend([{ sequence: runner.start(), tokens: [5, 17, 3] }], {
            logits: 'all',
            hidden: true,
          });
          result!.hidden!.forEach((state, i) => {
            const read = asked.activations === 'int8' ? rounded(state, weight.blockSize) : [...state];
            const wanted = logitsByHand(read, matrix, cap);
            const scale = Math.max(...wanted.map(Math.abs));
            expect(largestDifference(result!.logits[i]!, wanted) / scale).toBeLessThan(2e-6);
            // Neither the float matrix nor the other kind of inputs would do.
            const other = asked.activations === 'int8' ? [...state] : rounded(state, weight.blockSize);
            expect(largestDifference(wanted, logitsByHand(other, matrix, cap)) / scale).toBeGreaterThan(1e-4);
          });
        }
      }),
    );
  });

  it('generates what a float layer of the same numbers generates', async () => {
    const float = await modelOf(config);
    const { head: _, ...rest } = INT4;
    const codes = await codesOf(float, INT4);
    const untied = { ...float.config, tieWordEmbeddings: false };
    const weights = { ...float.weights, 'lm_head.weight': tensor(unpacked(codes), codes.shape) };
    const { tokenizer, generationConfig } = float;
    const replaced = new CausalLM({ config: untied, weights, tokenizer, generationConfig, name: 'replaced' });
    const rows = [rowOf([5, 17, 3], 24), rowOf([9, 2], 24)];
    const wanted = await decodeAll(await replaced.quantize(rest), rows);
    const model = await float.quantize(INT4);
    const got = await decodeAll(model, rows);
    expect(got.tokens).toEqual(wanted.tokens);
    expect(largestDifference(got.logProbs.flat(), wanted.logProbs.flat())).toBeLessThan(1e-4);
    expect((await decodeAll(await model.dequantize(), rows)).tokens).toEqual(wanted.tokens);
    // And another output layer would not.
    const other = await decodeAll(await float.quantize(rest), rows);
    expect(largestDifference(other.logProbs.flat(), wanted.logProbs.flat())).toBeGreaterThan(1e-3);
  });

  it.each(['float32', 'int8'] as const)('activations %s: scores as it generated', async (activations) => {
    const model = await (await modelOf(config)).quantize({ ...INT4, activations });
    const prompt = [5, 17, 3];
    const { tokens, logProbs } = await decodeAll(model, [rowOf(prompt, 12)]);
    const [scored] = await sequenceLogProbs(model, [[...prompt, ...tokens[0]!]], { topLogProbs: 1 });
    const at = prompt.length - 1;
    expect(largestDifference(scored!.logProbs.slice(at), logProbs[0]!)).toBeLessThan(1e-4);
    const top = scored!.topLogProbs!.slice(at).map(([first]) => first!);
    expect(top.map(({ tokenId }) => tokenId)).toEqual(tokens[0]);
    expect(
      largestDifference(
        top.map(({ logProb }) => logProb),
        logProbs[0]!,
      ),
    ).toBeLessThan(1e-4);
  });

  it('is loaded so from a float folder, and its dequantised model is saved and loaded bit for bit', async () => {
    const float = await modelOf(config);
    const [folder, other] = [await temporaryFolder(), await temporaryFolder()];
    await float.save(folder);
    const [model, loaded] = [await float.quantize(INT4), await CausalLM.load(folder, { quantization: INT4 })];
    expect(await numbersOf(loaded)).toEqual(await numbersOf(model));
    expect([...loaded.network.modules]).toEqual([...model.network.modules]);
    expect(loaded.config.tieWordEmbeddings).toBe(false);
    expect(loaded.storage).toEqual(model.storage);
    const plain = await model.dequantize();
    await plain.save(other);
    const again = await CausalLM.load(other);
    expect(await numbersOf(again)).toEqual(await numbersOf(plain));
    expect(await floats(again.weights['lm_head.weight']!)).toEqual(unpacked(await codesOf(float, INT4)));
    const sequence = [[5, 17, 3, 99]];
    expect(await sequenceLogProbs(again, sequence)).toEqual(await sequenceLogProbs(plain, sequence));
    // Rows that are not whole blocks, or of GPT-2's layout, have no form in a folder; nothing is written then.
    const empty = await temporaryFolder();
    await expect(model.save(empty)).rejects.toThrow(/(in blocks of 32|stored \[in, out\]).*, which .* has no form for/);
    expect(await readdir(empty)).toEqual([]);
  });

  it('is counted', async () => {
    const float = await modelOf(config);
    const [model, without] = [await float.quantize(INT4), await float.quantize({ method: 'int4' })];
    const size = float.config.vocabSize * 80;
    const isTied = float.config.tieWordEmbeddings;
    expect(model.storage.quantizedParameters).toBe(without.storage.quantizedParameters + size);
    expect(model.storage.parameters).toBe(without.storage.parameters + (isTied ? size : 0));
    // Three blocks a row, the last half empty: codes, scales, and zero points in two bytes.
    const codes = float.config.vocabSize * (3 * 16 + 3 * 4 + 2);
    expect(model.storage.bytes).toBe(without.storage.bytes + codes - (isTied ? 0 : 4 * size));
  });
});

describe('a quantised output layer', () => {
  it('gives hooks the matrix, and takes what they give', () =>
    onEngine(referenceEngine(), async () => {
      const { network, weights } = await (await modelOf({})).quantize({ ...INT4, activations: 'int8' });
      const hidden = tensor(
        Float32Array.from({ length: 160 }, (_, i) => Math.sin(i)),
        [2, 80],
      );
      const base = network.outputLayer(weights, hidden);
      const same = network.outputLayer(weights, hidden, { headWeight: ({ weight }) => weight });
      const doubled = network.outputLayer(weights, hidden, { headWeight: ({ weight }) => weight.mul(2) });
      expect([base.isBase, same.isBase, doubled.isBase]).toEqual([true, true, false]);
      expect(await same.logits().toArray()).toEqual(await base.logits().toArray());
      const matrix = (await doubled.matrix.toArray()).map((x) => x / 2);
      expect(matrix).toEqual(await network.head(weights).toArray());
      // A matrix of floats is multiplied with what is not rounded.
      expect(await doubled.states.toArray()).toEqual(await hidden.toArray());
      const wanted = [0, 1].flatMap((row) =>
        Array.from({ length: matrix.length / 80 }, (_, token) =>
          Array.from({ length: 80 }, (_, i) => 2 * Math.sin(row * 80 + i) * matrix[token * 80 + i]!).reduce(
            (a, b) => a + b,
          ),
        ),
      );
      expect(largestDifference(await doubled.logits().toArray(), wanted)).toBeLessThan(1e-5);
      expect(
        largestDifference(
          await base.logits().toArray(),
          wanted.map((x) => x / 2),
        ),
      ).toBeGreaterThan(1e-4);
    }));

  it('computes in float16 beside weights that are', async () => {
    const { network, weights } = await (await modelOf({})).quantize(INT4);
    const hidden = tensor(
      Float32Array.from({ length: 80 }, (_, i) => Math.sin(i)),
      [1, 80],
    );
    const half = network.outputLayer(weights, hidden.cast('float16'), { headWeight: ({ weight }) => weight.neg() });
    expect(half.matrix.dtype).toBe('float16');
    const [a, b] = [
      await half.logits().cast('float32').toArray(),
      await network.logits(weights, hidden).neg().toArray(),
    ];
    expect(largestDifference(a, b)).toBeLessThan(0.02);
  });

  it.each([{}, { tie_word_embeddings: true }])('is exported in its codes, %o', async (config) => {
    const model = await (await modelOf(config)).quantize(INT4);
    const folder = await temporaryFolder();
    const manifest = await exportGenerator(model, folder, { capacity: 16, promptWidth: 4 });
    const prompt = [5, 17, 3, 99, 41];
    const { tokens } = await generateExported(folder, manifest, prompt, 6);
    expect(tokens).toEqual((await decodeAll(model, [rowOf(prompt, 6)])).tokens[0]);
  });

  it('judges steps with the two rows that it needs', async () => {
    const model = await (await modelOf({})).quantize({ ...INT4, activations: 'int8' });
    const verifier = stepTagVerifier(model, { stepTag: '<think>' });
    const [verdict] = await verifier.verify([{ prompt: 'Q ', completion: 'First, add.' }]);
    const marks = ['+', '-'].map((text) => model.tokenizer.encode(text, { addSpecialTokens: false })[0]!);
    const tokens = model.tokenizer.encode('Q First, add.<think>');
    const scored = await sequenceLogProbs(
      model,
      marks.map((mark) => [...tokens, mark]),
    );
    const [good, bad] = scored.map(({ logProbs }) => Math.exp(logProbs.at(-1)!));
    expect(verdict!.stepScores![0]).toBeCloseTo(good! / (good! + bad!), 5);
  });

  it('goes where another head takes its place, and stays beside a value head', async () => {
    const model = await (await modelOf({ tie_word_embeddings: true })).quantize(INT4);
    const classifier = await SequenceClassifier.fromCausalLM(model, { labels: ['no', 'yes'] });
    expect(Object.keys(classifier.weights).filter((name) => name.startsWith('lm_head'))).toEqual([]);
    expect(classifier.network.modules.has('lm_head')).toBe(false);
    const value = await ValueModel.fromCausalLM(model, { format: 'v_head' });
    expect(value.network.modules.get('lm_head')?.quantization?.method).toBe('int4');
    await expect(
      (async () => {
        const folder = await temporaryFolder();
        await (await SequenceClassifier.fromCausalLM(await modelOf({}), { labels: ['no', 'yes'] })).save(folder);
        await SequenceClassifier.load(folder, { quantization: INT4 });
      })(),
    ).rejects.toThrow(/head: true, but the model predicts no tokens: it has no output layer \(lm_head\)/);
  });

  it('is refused where it makes no sense', async () => {
    const model = await modelOf({});
    const wrong = (options: object) => model.quantize(options as QuantizationOptions);
    await expect(wrong({ method: 'nf4', head: true })).rejects.toThrow(
      /head: true is for method "int4" only; with "nf4"/,
    );
    await expect(wrong({ method: 'int8', head: true })).rejects.toThrow(/with "int8" the output layer stays float32/);
    await expect(wrong({ method: 'int4', head: 1 })).rejects.toThrow(/head must be true or false, not 1/);
    await expect(wrong({ method: 'int4', heads: true })).rejects.toThrow(/heads/);
    const quantized = await model.quantize({ method: 'int4' });
    await expect(quantized.quantize(INT4)).rejects.toThrow(/quantised already .*: quantise model.dequantize\(\)/);
  });
});
