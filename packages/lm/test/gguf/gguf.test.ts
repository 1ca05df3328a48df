import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { dequantizeInt4 } from '@posttrain/core-tensor/quantization';
import { describe, expect, it } from 'vitest';
import { BLOCK_TYPES } from '../../src/gguf/block-types.js';
import { llama3Scaling } from '../../src/gguf/llama3-scaling.js';
import { GgufModelSource, halvesFromPairs } from '../../src/gguf/model-source.js';
import { int4FromQ4_0 } from '../../src/gguf/q4-0.js';
import { CausalLM, LocalGenerator, loadWeights, openGguf, sequenceLogProbs } from '../../src/index.js';
import { rotationOf } from '../../src/model/rotary-angles.js';
import { ENGINES, largestDifference, modelFolder, temporaryFolder, tinyConfig } from '../support.js';
import { GgufBytes, ValueType } from './build-gguf.js';
import { goldenFile } from './support.js';

const Q4_0 = BLOCK_TYPES.get(2)!;

/** Blocks of any bytes with a finite scale. */
function randomQ4_0(blocks: number): Uint8Array {
  let state = 1;
  const bytes = Uint8Array.from({ length: blocks * Q4_0.bytes }, () => {
    state = (state * 48271) % 2147483647;
    return state & 255;
  });
  for (let block = 0; block < blocks; block++) bytes[block * Q4_0.bytes + 1]! &= 0xbf;
  return bytes;
}

describe('keeping Q4_0 as int4', () => {
  it('stands for exactly the numbers of the file', () => {
    const bytes = randomQ4_0(12);
    const floats = new Float32Array(12 * 32);
    Q4_0.decode(bytes, floats, 12);
    const weight = int4FromQ4_0(bytes, [4, 96]);
    expect(dequantizeInt4(weight).data).toEqual(floats);
    expect(weight.parts.codes.shape).toEqual([4, 3, 16]);
  });

  it.each(ENGINES)('on %s: scores as the dequantised model does, in 5 bits a weight instead of 32', async (_, make) => {
    setEngine(make());
    const float = await CausalLM.load(goldenFile('bpe-q4_0'));
    const kept = await CausalLM.load(goldenFile('bpe-q4_0'), { quantization: 'keep' });
    expect(float.storage.quantizedParameters).toBe(0);
    const linear = kept.storage.quantizedParameters;
    expect(linear).toBe(2 * (32 * 32 * 2 + 16 * 32 * 2 + 3 * 32 * 64));
    // 4 bits a code and a float32 for 32 of them.
    expect(float.storage.bytes - kept.storage.bytes).toBe(linear * (4 - 5 / 8));
    for (const [name, weight] of Object.entries((await kept.dequantize()).weights)) {
      expect(await weight.toArray(), name).toEqual(await float.weights[name]!.toArray());
    }
    const sequences = [float.tokenizer.encode('Hello, world!'), float.tokenizer.encode('12 + 30 = 42')];
    const [a, b] = [await sequenceLogProbs(float, sequences), await sequenceLogProbs(kept, sequences)];
    a.forEach(({ logProbs }, i) => {
      expect(largestDifference(logProbs, b[i]!.logProbs)).toBeLessThan(1e-5);
    });
  });

  it('has the codes that symmetric int4 finds in the numbers', async () => {
    const kept = await CausalLM.load(goldenFile('bpe-q4_0'), { quantization: 'keep' });
    const again = await CausalLM.load(goldenFile('bpe-q4_0'), { quantization: { method: 'int4', symmetric: true } });
    expect(Object.keys(again.weights).sort()).toEqual(Object.keys(kept.weights).sort());
    for (const [name, weight] of Object.entries(kept.weights)) {
      expect(await again.weights[name]!.data(), name).toEqual(await weight.data());
    }
  });

  it('keeps an output layer of its own too', async () => {
    const path = goldenFile('bpe-q4_0');
    const file = await openGguf(path);
    const { byteOffset, shape } = file.tensors.get('output.weight')!;
    await file.close();
    // It is the last tensor. Its type is behind its name (which is behind its length), the number of sizes and two sizes.
    const bytes = await readFile(path);
    const name = Buffer.from(new GgufBytes().text('output.weight').build());
    bytes.writeUInt32LE(2, bytes.indexOf(name) + name.length + 4 + 2 * 8);
    const codes = randomQ4_0((shape[0]! * shape[1]!) / 32);
    const changed = join(await temporaryFolder(), 'q4_0-output.gguf');
    await writeFile(changed, Buffer.concat([bytes.subarray(0, byteOffset), codes]));
    const kept = await CausalLM.load(changed, { quantization: 'keep' });
    expect(kept.network.modules.get('lm_head')!.quantization).toMatchObject({ method: 'int4', blockSize: 32, shape });
    expect(kept.weights['model.embed_tokens.weight']!.dtype).toBe('float32');
    const floats = new Float32Array(shape[0]! * shape[1]!);
    Q4_0.decode(codes, floats, codes.length / Q4_0.bytes);
    expect(Float32Array.from(await kept.network.head(kept.weights).toArray())).toEqual(floats);
    const sequences = [kept.tokenizer.encode('Hello, world!')];
    const [a, b] = [
      await sequenceLogProbs(kept, sequences),
      await sequenceLogProbs(await CausalLM.load(changed), sequences),
    ];
    const scale = Math.max(...a[0]!.logProbs.map(Math.abs));
    expect(largestDifference(a[0]!.logProbs, b[0]!.logProbs) / scale).toBeLessThan(1e-5);
  });

  it('rounds activations as llama.cpp does only when that is asked for', async () => {
    const load = (activations: 'float32' | 'int8') =>
      CausalLM.load(goldenFile('bpe-q4_0'), { quantization: { method: 'keep', activations } });
    const kept = await CausalLM.load(goldenFile('bpe-q4_0'), { quantization: 'keep' });
    const [exact, rounding] = [await load('float32'), await load('int8')];
    const sequence = kept.tokenizer.encode('Hello, world!');
    const scored = async (model: CausalLM) => (await sequenceLogProbs(model, [sequence]))[0]!.logProbs;
    const wanted = await scored(kept);
    expect(await scored(exact)).toEqual(wanted);
    const difference = largestDifference(await scored(rounding), wanted);
    expect(difference).toBeGreaterThan(1e-6);
    expect(difference).toBeLessThan(0.1);
    await expect(load('int4' as 'int8')).rejects.toThrow(/activations "int4" is not one of float32, int8/);
  });

  it('says when there is nothing to keep', async () => {
    await expect(CausalLM.load(goldenFile('spm-q8_0'), { quantization: 'keep' })).rejects.toThrow(
      /no linear layer is Q4_0/,
    );
    await expect(loadWeights(modelFolder('llama'), { quantization: 'keep' })).rejects.toThrow(/is no GGUF file/);
  });

  it('quantises what the file holds in other ways as it does a folder', async () => {
    const quantization = { method: 'nf4', skip: ['down_proj'] } as const;
    const [file, folder] = [
      await loadWeights(goldenFile('llama'), { quantization }),
      await loadWeights(modelFolder('llama'), { quantization }),
    ];
    expect(file.config.quantization).toEqual(folder.config.quantization);
    for (const [name, weight] of Object.entries(file.weights)) {
      expect(await weight.toArray(), name).toEqual(await folder.weights[name]!.toArray());
    }
  });
});

describe('a model of a GGUF file', () => {
  it.each(ENGINES)('on %s: generates, is saved as a folder and goes on the same', async (_, make) => {
    setEngine(make());
    const model = await CausalLM.fromPretrained(goldenFile('bpe-q4_0'));
    const request = { prompt: [{ role: 'user' as const, content: 'Hello' }], maxTokens: 8, temperature: 0 };
    const said = await new LocalGenerator(model).generate([request]);
    const folder = await temporaryFolder();
    await model.save(folder);
    const again = await new LocalGenerator(await CausalLM.load(folder)).generate([request]);
    expect(again[0]![0]!.text).toBe(said[0]![0]!.text);
    // Those of the file, and one that llama.cpp knows by its text.
    const ends = [...model.endTokens].map((id) => model.tokenizer.idToToken(id));
    expect(ends).toEqual(['<|im_end|>', '<|eot_id|>', '<|end_of_text|>']);
  });

  it('is found as the only file of a folder without config.json', async () => {
    const folder = await temporaryFolder();
    await copyFile(goldenFile('llama'), join(folder, 'model.GGUF'));
    expect((await CausalLM.load(folder)).config.modelType).toBe('llama');
    await copyFile(goldenFile('llama'), join(folder, 'other.gguf'));
    await expect(CausalLM.load(folder)).rejects.toThrow(/several models: name one of model\.GGUF, other\.gguf/);
    await writeFile(join(folder, 'config.json'), '{"model_type": "llama"}');
    await expect(CausalLM.load(folder)).rejects.toThrow(/config\.json/);
    await expect(CausalLM.fromPretrained(join(folder, 'none.gguf'))).rejects.toThrow(/no such folder or GGUF file/);
    await expect(CausalLM.load(join(folder, 'none.gguf'))).rejects.toThrow(/there is no such folder or GGUF file/);
    await mkdir(join(folder, 'empty'));
    await expect(CausalLM.load(join(folder, 'empty'))).rejects.toThrow(/config\.json/);
  });

  it('reads one tensor at a time, and names those near a wrong name', async () => {
    const file = await openGguf(goldenFile('llama'));
    const info = file.info('blk.0.ffn_down.weight');
    expect(info).toMatchObject({ shape: [32, 56], type: { name: 'F32' }, byteLength: 32 * 56 * 4 });
    expect((await file.read(info.name)).length).toBe(32 * 56);
    await expect(file.read('blk.0.ffn_dwn.weight')).rejects.toThrow(/blk\.0\.ffn_down\.weight/);
    await file.close();
  });
});

describe('the order of rows', () => {
  it('puts the first rows of all pairs before the second ones, head by head', () => {
    const rows = Uint8Array.from([0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]);
    expect([...halvesFromPairs(rows, 12, 2)]).toEqual([0, 2, 4, 1, 3, 5, 10, 12, 14, 11, 13, 15]);
    const wide = Uint8Array.from([0, 0, 1, 1, 2, 2, 3, 3]);
    expect([...halvesFromPairs(wide, 4, 1)]).toEqual([0, 0, 2, 2, 1, 1, 3, 3]);
  });
});

describe('a quantised bias', () => {
  it('has its numbers in the order of the rows', async () => {
    const stored = Uint8Array.of(0, 60, ...Array.from({ length: 32 }, (_, i) => i));
    const bytes = new GgufBytes()
      .magic()
      .uint64(1)
      .uint64(1)
      .text('general.architecture')
      .uint32(ValueType.text)
      .text('llama')
      .tensor('blk.0.attn_q.bias', [32], 8, 0)
      .pad()
      .bytes(stored);
    const path = join(await temporaryFolder(), 'bias.gguf');
    await writeFile(path, bytes.build());
    const source = new GgufModelSource(await openGguf(path), tinyConfig({ hidden_size: 32, num_attention_heads: 2 }));
    const { data } = await source.read('model.layers.0.self_attn.q_proj.bias');
    const head = (first: number) => [0, 1].flatMap((odd) => Array.from({ length: 8 }, (_, i) => first + 2 * i + odd));
    expect([...data]).toEqual([...head(0), ...head(16)]);
    await source.close();
  });
});

describe('the position scaling of Llama 3', () => {
  const divisors = (factor: number, high: number, length: number, theta: number, headDim: number) => {
    const rope = { type: 'llama3', theta, factor, lowFreqFactor: 1, highFreqFactor: high } as const;
    const scaled = rotationOf({ ...rope, originalMaxPositionEmbeddings: length }, headDim).frequencies;
    const plain = rotationOf({ type: 'default', theta }, headDim).frequencies;
    return plain.map((frequency, i) => frequency / scaled[i]!);
  };

  it.each([
    [8, 4, 8192, 500000, 128],
    [32, 4, 8192, 500000, 64],
    [8, 4, 64, 10000, 16],
    [4, 3, 2048, 10000, 128],
    // A head so small that no pair lies between.
    [8, 4, 8192, 1e10, 4],
  ])(
    'factor %d, high %d, length %d, theta %d, head %d: is found in what it makes',
    (factor, high, length, theta, headDim) => {
      const json = llama3Scaling('test', divisors(factor, high, length, theta, headDim), { theta, headDim });
      expect(json).toMatchObject({
        rope_type: 'llama3',
        high_freq_factor: high,
        original_max_position_embeddings: length,
      });
      expect(json.factor).toBeCloseTo(factor, 5);
    },
  );

  it('refuses other scalings', () => {
    const shape = { theta: 10000, headDim: 16 };
    expect(() => llama3Scaling('test', Float32Array.of(1, 2, 1, 3, 1, 2, 1, 8), shape)).toThrow(
      /not the position scaling/,
    );
    expect(() => llama3Scaling('test', Float32Array.of(1, 2), shape)).toThrow(/2 numbers for 8 pairs/);
  });
});
