import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setEngine, tensor } from '@posttrain/core-tensor';
import { openSafetensors, openSafetensorsFolder, saveSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { afterEach, describe, expect, it } from 'vitest';
import {
  CausalLM,
  ChatTemplate,
  loadWeights,
  ModelMemoryError,
  networkOf,
  parseModelConfig,
  SequenceClassifier,
  saveWeights,
  sequenceLogProbs,
  Tokenizer,
} from '../src/index.js';
import { assertFits } from '../src/model/memory-need.js';
import { logitsOf } from './gguf/support.js';
import {
  EMPTY_GENERATION_CONFIG,
  ENGINES,
  largestDifference,
  MODEL_FOLDERS,
  modelFolder,
  temporaryFolder,
  tinyModel,
  tokenizerFolder,
} from './support.js';

/** A whole model folder: golden weights with a tokenizer that has no more ids than they have rows. */
async function folderOf(weights = 'qwen3'): Promise<string> {
  const folder = await temporaryFolder();
  await cp(modelFolder(weights), folder, { recursive: true });
  return folder;
}

/** A model folder with all that `CausalLM.load` reads. */
async function tokenized(): Promise<string> {
  const folder = await temporaryFolder();
  await (await tinyModel()).save(folder);
  return folder;
}

/** The tensors of a model folder, by name. */
async function tensorsOf(folder: string) {
  const source = await openSafetensorsFolder(folder);
  const tensors = [];
  for (const name of source.tensors.keys()) tensors.push({ name, ...(await source.read(name)) });
  await source.close();
  return tensors;
}

const contents = async (folder: string) => {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, (await readFile(join(folder, name))).toString('base64')])),
  );
};

describe('saveWeights', () => {
  it.each(MODEL_FOLDERS)('%s: writes the tensors of transformers, bit for bit', async (name) => {
    const { config, weights } = await loadWeights(modelFolder(name));
    const folder = await temporaryFolder();
    await saveWeights(folder, config, weights);
    const file = await openSafetensors(join(folder, 'model.safetensors'));
    const original = await openSafetensorsFolder(modelFolder(name));
    // Nothing invented, nothing lost but images; what was stored in 16 bits is 32 bits wide now.
    const ofText = [...original.tensors.keys()].filter((key) => !/^(vision_tower|multi_modal_projector)\./.test(key));
    const stored = new Map(ofText.map((key) => [key.replace(/^language_model\./, ''), key]));
    expect([...file.tensors.keys()].sort()).toEqual([...stored.keys()].sort());
    for (const key of file.tensors.keys()) {
      const [ours, theirs] = [await file.read(key), await original.read(stored.get(key)!, { as: 'float32' })];
      expect(ours.shape).toEqual(theirs.shape);
      expect(Buffer.compare(Buffer.from(ours.data.buffer), Buffer.from(theirs.data.buffer)), key).toBe(0);
    }
    await file.close();
    await original.close();
    const again = await loadWeights(folder);
    expect(again.config).toEqual({ ...config, dtype: 'float32' });
  });

  it('stores 16 bits, rounded to nearest even, and shards', async () => {
    const { config, weights } = await loadWeights(modelFolder('llama'));
    const folder = await temporaryFolder();
    await saveWeights(folder, config, weights, { dtype: 'bfloat16', maxShardBytes: 30_000 });
    const files = await readdir(folder);
    expect(files.filter((name) => name.endsWith('.safetensors')).length).toBeGreaterThan(1);
    expect(files).toContain('model.safetensors.index.json');
    const again = await loadWeights(folder);
    expect(again.config.dtype).toBe('bfloat16');
    for (const [name, weight] of Object.entries(weights)) {
      const [before, after] = [await weight.toArray(), await again.weights[name]!.toArray()];
      for (const [i, value] of before.entries()) {
        // bfloat16 has 8 significant bits.
        expect(Math.abs(after[i]! - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -8);
      }
    }
    const source = await openSafetensorsFolder(folder);
    expect(new Set([...source.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(['BF16']));
    await source.close();
  });
});

describe.each(ENGINES)('CausalLM.save and load on the %s engine', (_, makeEngine) => {
  afterEach(() => setEngine(onnxruntimeEngine()));

  it.each(['llama', 'gpt2'])('%s: the same model comes back, bit for bit', async (type) => {
    setEngine(makeEngine());
    const model = await tinyModel('byte-level-bpe', { model_type: type });
    const folder = await temporaryFolder();
    const generationConfig = { ...EMPTY_GENERATION_CONFIG, eosTokenIds: [5, 6], maxNewTokens: 9 };
    await new CausalLM({ ...model, generationConfig }).save(folder);
    const again = await CausalLM.load(folder);
    expect(again.name).toBe(folder);
    expect(again.config).toEqual({ ...model.config, dtype: 'float32' });
    expect([...again.endTokens]).toEqual([5, 6]);
    expect(again.generationConfig).toEqual(generationConfig);
    expect(again.chatTemplate!.templates).toEqual(model.chatTemplate!.templates);
    for (const [name, weight] of Object.entries(model.weights)) {
      expect(await again.weights[name]!.toArray(), name).toEqual((await weight.toArray()).map(Math.fround));
    }
    const tokens = model.tokenizer.encode('The same, to the last bit.');
    const [ours, theirs] = [await sequenceLogProbs(model, [tokens]), await sequenceLogProbs(again, [tokens])];
    expect(largestDifference(ours[0]!.logProbs, theirs[0]!.logProbs)).toBeLessThan(1e-5);
  });
});

describe('CausalLM.save and load', () => {
  it('writes a chat template that did not come from the tokenizer’s folder', async () => {
    const model = await tinyModel();
    const folder = await temporaryFolder();
    const templates = { default: '{{ messages[0].content }}', tool_use: 'tools' };
    await new CausalLM({ ...model, chatTemplate: new ChatTemplate(model.tokenizer, templates) }).save(folder);
    expect((await CausalLM.load(folder)).chatTemplate!.templates).toEqual(templates);
    // Saved over it, a model without one must not inherit it.
    await new CausalLM({ ...model, chatTemplate: undefined, tokenizer: await bareTokenizer() }).save(folder);
    expect((await CausalLM.load(folder)).chatTemplate).toBeUndefined();
  });

  it('saves into its own folder, and leaves no shard or config of another model there', async () => {
    const model = await tinyModel();
    const folder = await temporaryFolder();
    const generationConfig = { ...EMPTY_GENERATION_CONFIG, maxNewTokens: 9 };
    await new CausalLM({ ...model, generationConfig }).save(folder, { maxShardBytes: 10_000 });
    const loaded = await CausalLM.load(folder);
    await new CausalLM({ ...loaded, generationConfig: undefined }).save(folder);
    expect((await readdir(folder)).sort()).toEqual([
      'chat_template.jinja',
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    expect((await CausalLM.load(folder)).generationConfig).toBeUndefined();
  });

  it('leaves the model that was there when saving fails', async () => {
    const folder = await temporaryFolder();
    await (await tinyModel()).save(folder);
    const before = await contents(folder);
    const model = await tinyModel('byte-level-bpe', {}, 9);
    const file = join(folder, 'tokenizer.json');
    const lost = new Tokenizer({ tokenizer: JSON.parse(await readFile(file, 'utf8')), folder: file });
    await expect(new CausalLM({ ...model, tokenizer: lost }).save(folder)).rejects.toThrow(/ENOTDIR/);
    // The last tensor to be written is not what it says it is.
    const broken = { ...model.weights, 'model.norm.weight': tensor([1, 2, 3]) };
    await expect(model.withWeights(broken).save(folder)).rejects.toThrow(/model\.norm\.weight/);
    await expect(model.save(folder, { dType: 'bfloat16' } as object)).rejects.toThrow(/Did you mean "dtype"/);
    expect(await contents(folder)).toEqual(before);
  });
});

/** A tokenizer whose folder has no chat template. */
async function bareTokenizer(): Promise<Tokenizer> {
  const folder = await temporaryFolder();
  await cp(join(tokenizerFolder('byte-level-bpe'), 'tokenizer.json'), join(folder, 'tokenizer.json'));
  return Tokenizer.load(folder);
}

describe('a broken folder', () => {
  const rewrite = async (folder: string, change: (tensors: Awaited<ReturnType<typeof tensorsOf>>) => unknown[]) =>
    saveSafetensors(folder, change(await tensorsOf(folder)) as Parameters<typeof saveSafetensors>[1]);

  it('names a missing tensor, and the one that is there instead', async () => {
    const folder = await folderOf();
    await rewrite(folder, (all) =>
      all.map((t) => (t.name === 'model.norm.weight' ? { ...t, name: 'model.norms.weight' } : t)),
    );
    await expect(loadWeights(folder)).rejects.toThrow(
      /model\.norm\.weight is missing \(there is model\.norms\.weight\).*model\.norms\.weight has no place in a qwen3 model/,
    );
  });

  it('names a tensor that has no place', async () => {
    const folder = await folderOf();
    await rewrite(folder, (all) => [...all, { ...all[0]!, name: 'model.layers.7.extra' }]);
    await expect(loadWeights(folder)).rejects.toThrow(/model\.layers\.7\.extra has no place/);
  });

  it('names a tensor of another shape, and both shapes', async () => {
    const folder = await folderOf();
    await rewrite(folder, (all) => all.map((t) => (t.name === 'model.norm.weight' ? { ...t, shape: [8, 2] } : t)));
    await expect(loadWeights(folder)).rejects.toThrow(
      /model\.norm\.weight has shape \[8, 2\] where the config asks for \[16\]/,
    );
  });

  it('names a truncated file', async () => {
    const folder = await folderOf();
    await truncate(join(folder, 'model.safetensors'), 5000);
    await expect(loadWeights(folder)).rejects.toThrow(/model\.safetensors/);
    await rm(join(folder, 'model.safetensors'));
    await expect(loadWeights(folder)).rejects.toThrow(/neither model\.safetensors nor/);
  });

  it('names an architecture it has no model for, and those it has', async () => {
    const folder = await folderOf();
    await writeFile(join(folder, 'config.json'), JSON.stringify({ model_type: 'mamba' }));
    await expect(CausalLM.load(folder)).rejects.toThrow(/config\.json.*"mamba" is not supported.*llama/);
  });

  it('names a missing tokenizer or config', async () => {
    const folder = await folderOf();
    await expect(CausalLM.load(folder)).rejects.toThrow(/tokenizer\.json.*no such file/);
    const empty = join(await temporaryFolder(), 'empty');
    await mkdir(empty);
    await expect(CausalLM.load(empty)).rejects.toThrow(/no such file/);
  });

  /** Without a type checker. */
  const untyped = CausalLM as unknown as Record<'load' | 'fromPretrained', (...given: unknown[]) => Promise<unknown>>;

  it.each(['load', 'fromPretrained'] as const)('%s says what a path is that cannot be one', async (load) => {
    for (const path of [undefined, null, 5, '', {}]) {
      await expect(untyped[load](path)).rejects.toMatchObject({ code: 'INVALID_OPTION', message: /must be a path/ });
    }
    await expect(untyped[load](new URL('file:///a'))).rejects.toThrow('fileURLToPath');
  });

  it('says of a name that the hub is asked by another function', async () => {
    await expect(CausalLM.load('org/name')).rejects.toMatchObject({
      ...{ code: 'NO_MODEL_FOLDER', message: expect.stringContaining('fromPretrained("org/name")') },
    });
    await expect(CausalLM.load('/nowhere/model')).rejects.toThrow(/there is no such folder or GGUF file\.$/);
    await expect(CausalLM.load('/nowhere/model.gguf')).rejects.toThrow(/there is no such folder or GGUF file\.$/);
    await expect(CausalLM.fromPretrained('./nowhere')).rejects.toThrow(/there is no such folder or GGUF file\.$/);
  });

  it('says of an adapter that it is one, and of which model', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'adapter_model.safetensors'), '');
    await writeFile(join(folder, 'adapter_config.json'), JSON.stringify({ base_model_name_or_path: 'org/base' }));
    for (const given of [folder, join(folder, 'adapter_model.safetensors')]) {
      const message = /is an adapter and no model: load its base model, org\/base, and then loadAdapter\(model, /;
      await expect(CausalLM.load(given)).rejects.toThrow(message);
      await expect(CausalLM.fromPretrained(given)).rejects.toThrow(message);
      await expect(SequenceClassifier.load(given)).rejects.toThrow(message);
    }
    await writeFile(join(folder, 'adapter_config.json'), 'no JSON');
    await expect(CausalLM.load(folder)).rejects.toThrow(/load the model that it was trained on/);
    const file = join(await folderOf(), 'model.safetensors');
    await expect(CausalLM.load(file)).rejects.toThrow(/is a file; give the folder that it is in/);
  });

  it.each([
    [{ quantization: 'nf4' }, /quantization is "nf4"; it must be an object .*: { method: 'nf4' }\./],
    [{ quantization: 'int8' }, /{ method: 'int8' }\./],
    [{ quantization: null }, /quantization is null/],
    [{ quantization: { method: 'nf5' } }, /method "nf5" is not one of nf4/],
    [{ load_in_4bit: true }, /unknown option "load_in_4bit"\. Write quantization: { method: 'nf4' }\./],
    [{ torch_dtype: 'auto' }, /unknown option "torch_dtype"\. Weights become float32/],
    [{ quantisation: { method: 'nf4' } }, /Did you mean "quantization"/],
  ])('says how %j is written', async (options, message) => {
    const folder = await tokenized();
    for (const load of ['load', 'fromPretrained'] as const) {
      await expect(untyped[load](folder, options)).rejects.toThrow(message);
    }
  });

  it('quantize says how a method is written', async () => {
    const model = await CausalLM.load(await tokenized());
    await expect(model.quantize('nf4' as never)).rejects.toThrow(/{ method: 'nf4' }/);
  });

  it.each([
    [undefined, {}, /folder is undefined; it must be a path/],
    ['x', { dtype: 'fp16' }, /dtype is "fp16"; it must be one of "float32", .* It is called "float16" here\./],
    ['x', { dtype: 'bf16' }, /It is called "bfloat16" here\./],
    ['x', { dtype: 'int8' }, /dtype is "int8"; it must be one of "float32", "float16", "bfloat16"/],
    ['x', { max_shard_size: 1 }, /It is called "maxShardBytes" here/],
    ['x', { maxShardBytes: '5 potatoes' }, /maxShardBytes is "5 potatoes"; it must be a number of bytes above 0/],
  ])('save refuses %j with %j', async (name, options, message) => {
    const model = await CausalLM.load(await tokenized());
    const folder = name && join(await temporaryFolder(), name);
    await expect(model.save(folder as string, options as never)).rejects.toThrow(message);
    if (folder) await expect(readdir(folder)).rejects.toThrow('ENOENT');
  });

  it('names a tokenizer that has more ids than the embedding has rows', async () => {
    const folder = await folderOf();
    await cp(tokenizerFolder('byte-level-bpe'), folder, { recursive: true });
    await expect(CausalLM.load(folder)).rejects.toThrow(/523 ids but the embedding only 300 rows/);
  });
});

describe('weights of the base model without the language model’s prefix', () => {
  it('are found', async () => {
    const folder = await folderOf('gpt2');
    const stripped = (await tensorsOf(folder)).map((t) => ({ ...t, name: t.name.replace(/^transformer\./, '') }));
    await saveSafetensors(folder, stripped as Parameters<typeof saveSafetensors>[1]);
    const [bare, full] = [await loadWeights(folder), await loadWeights(modelFolder('gpt2'))];
    const sequences = [[5, 9, 11, 200]];
    const [ours] = await sequenceLogProbs({ network: networkOf(bare.config), weights: bare.weights }, sequences);
    const [theirs] = await sequenceLogProbs({ network: networkOf(full.config), weights: full.weights }, sequences);
    expect(largestDifference(ours!.logProbs, theirs!.logProbs)).toBe(0);
  });
});

describe('a model that is larger than memory', () => {
  /** A folder whose embedding has 2^30 rows, in a file that has no data on the disk. */
  async function giant(): Promise<string> {
    const folder = await folderOf('llama');
    const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
    const vocabulary = 2 ** 30;
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, vocab_size: vocabulary }));
    const header: Record<string, unknown> = {};
    let end = 0;
    for (const { name, shape } of await tensorsOf(folder)) {
      const whole = /embed_tokens|lm_head/.test(name) ? [vocabulary, config.hidden_size] : shape;
      const start = end;
      end += whole.reduce((a, b) => a * b, 1);
      header[name] = { dtype: 'F8_E4M3', shape: whole, data_offsets: [start, end] };
    }
    const text = new TextEncoder().encode(JSON.stringify(header));
    const length = new Uint8Array(BigUint64Array.of(BigInt(text.length)).buffer);
    const path = join(folder, 'model.safetensors');
    await writeFile(path, Buffer.concat([length, text]));
    await truncate(path, 8 + text.length + end);
    return folder;
  }

  it('says what it needs before it reads', async () => {
    await expect(loadWeights(await giant())).rejects.toThrow(/its weights need \d+\.\d GB of memory .* are free/);
    await expect(loadWeights(await giant())).rejects.toThrow(ModelMemoryError);
  });

  it('is told by what is held: float32, what is stored, what is quantised', () => {
    const shape = [1000, 1000];
    const kept = { name: 'w', dtype: 'U8', shape, byteOffset: 0, byteLength: 7e5 } as const;
    const weights = [{ shape }, { shape, kept }, { shape, bitsPerWeight: 4 }];
    expect(() => assertFits('m', weights, 5.2e6)).not.toThrow();
    expect(() => assertFits('m', weights, 5.1e6)).toThrow(ModelMemoryError);
  });
});

describe('weights of a model with images', () => {
  it('are found under the names of its files, and of transformers 5 in memory', async () => {
    const folder = await folderOf('gemma3');
    const inMemory = (name: string) =>
      name
        .replace(/^language_model\.model\./, 'model.language_model.')
        .replace(/^(vision_tower|multi_modal_projector)\./, 'model.$1.');
    const renamed = (await tensorsOf(folder)).map((t) => ({ ...t, name: inMemory(t.name) }));
    expect(renamed.map(({ name }) => name)).toContain('model.language_model.norm.weight');
    await saveSafetensors(folder, renamed as Parameters<typeof saveSafetensors>[1]);
    const [ours, theirs] = [await loadWeights(folder), await loadWeights(modelFolder('gemma3'))];
    expect(Object.keys(ours.weights)).toEqual(Object.keys(theirs.weights));
    for (const [name, weight] of Object.entries(ours.weights)) {
      expect(await weight.toArray(), name).toEqual(await theirs.weights[name]!.toArray());
    }
  });
});

describe('the text part of a model that sees images', () => {
  const part = (name: string) => join(import.meta.dirname, '../../../goldens/text-parts', name);

  it.each([
    ['llava', 'llama'],
    ['mistral3', 'mistral'],
    ['qwen2-vl', 'qwen2'],
    ['qwen2-5-vl', 'qwen2'],
  ])('of %s has the logits of the whole for a text, says what is left out, and is saved as %s', async (name, type) => {
    const warnings: string[] = [];
    const listen = ({ message }: Error) => warnings.push(message);
    process.on('warning', listen);
    const loaded = await loadWeights(part(name));
    await new Promise(setImmediate);
    process.off('warning', listen);
    expect(warnings.join()).toMatch(
      new RegExp(`as a ${type} model; \\d+ tensors of other parts \\((vision_tower|visual|multi)`),
    );
    const file = await openSafetensors(join(part(name), 'expected.safetensors'));
    const [ids, logits] = [await file.read('input_ids'), (await file.read('logits')).data as Float32Array];
    await file.close();
    const folder = await temporaryFolder();
    await saveWeights(folder, loaded.config, loaded.weights);
    expect(JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')).model_type).toBe(type);
    for (const model of [loaded, await loadWeights(folder)]) {
      const tokens = tensor(Int32Array.from(ids.data), [2, 9], 'int32');
      const found = await logitsOf(model.network, model.weights, tokens).toArray();
      expect(largestDifference(found, logits)).toBeLessThan(2e-4);
    }
  });

  it.each([
    [{ model_type: 'llava' }, /"text_config" must be an object/],
    [{ model_type: 'mistral3', text_config: { model_type: 'whisper' } }, /the architecture "whisper" is not supported/],
    [
      { model_type: 'qwen2_vl', text_config: { rope_scaling: { type: 'odd', mrope_section: [1] } } },
      /RoPE scaling of type "odd"/,
    ],
  ])('%o is refused', (json, message) => {
    expect(() => parseModelConfig(json)).toThrow(message);
  });

  it('has the sizes of transformers where a config leaves them out, and keys beside those of the whole', () => {
    const llava = parseModelConfig({ model_type: 'llava', text_config: { model_type: 'llama', vocab_size: 32064 } });
    expect(llava).toMatchObject({ modelType: 'llama', hiddenSize: 4096, numHiddenLayers: 32, vocabSize: 32064 });
    const sizes = {
      hidden_size: 64,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      rope_scaling: { type: 'mrope', mrope_section: [2, 3, 3] },
    };
    const qwen = parseModelConfig({ model_type: 'qwen2_vl', ...sizes, vision_config: { hidden_size: 7 } });
    expect(qwen).toMatchObject({
      modelType: 'qwen2',
      hiddenSize: 64,
      headDim: 16,
      rope: { type: 'default', theta: 1e6 },
    });
  });
});

describe('a folder with tie_word_embeddings true and an output layer all the same', () => {
  const editConfig = async (folder: string, change: Record<string, unknown>) => {
    const path = join(folder, 'config.json');
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...change }));
  };
  const scored = async (model: CausalLM) => [...(await sequenceLogProbs(model, [[5, 6, 7, 8, 9]]))[0]!.logProbs];

  it.each(['llama', 'gpt2', 'gemma2'])('%s: is read with it, as by transformers, and stays so', async (model_type) => {
    const model = await tinyModel('byte-level-bpe', { model_type, tie_word_embeddings: false });
    const want = await scored(model);
    const [folder, again] = [await temporaryFolder(), await temporaryFolder()];
    await model.save(folder);
    await editConfig(folder, { tie_word_embeddings: true });
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
    const loaded = await CausalLM.load(folder);
    expect((await warned).message).toContain('has an output layer "lm_head.weight" of its own; it is used');
    expect(loaded.config.tieWordEmbeddings).toBe(false);
    expect(await scored(loaded)).toEqual(want);
    await loaded.save(again);
    expect(JSON.parse(await readFile(join(again, 'config.json'), 'utf8')).tie_word_embeddings).toBe(false);
    expect(await scored(await CausalLM.load(again))).toEqual(want);
    // Quantised in place, and as it is read.
    const options = { method: 'int4', head: true } as const;
    const quantized = await scored(await loaded.quantize(options));
    expect(await scored(await CausalLM.load(folder, { quantization: options }))).toEqual(quantized);
    expect(largestDifference(quantized, want)).toBeLessThan(2);
    const tied = await scored(
      await CausalLM.initialize({ ...loaded, config: { ...loaded.config, tieWordEmbeddings: true } }, 3),
    );
    expect(largestDifference(tied, want)).toBeGreaterThan(0.1);
  });

  it('stays tied where the two are equal', async () => {
    const model = await tinyModel('byte-level-bpe', { tie_word_embeddings: true });
    const folder = await temporaryFolder();
    await model.save(folder);
    const tensors = await tensorsOf(folder);
    const embedding = tensors.find(({ name }) => name === 'model.embed_tokens.weight')!;
    const write = async (data: Float32Array) =>
      saveSafetensors(
        folder,
        [...tensors, { ...embedding, name: 'lm_head.weight', data }].map(({ data, ...rest }) => ({
          ...rest,
          data: () => Promise.resolve(data),
        })) as Parameters<typeof saveSafetensors>[1],
      );
    await write(embedding.data as Float32Array);
    expect((await CausalLM.load(folder)).config.tieWordEmbeddings).toBe(true);
    const other = Float32Array.from(embedding.data as Float32Array);
    other[7] = 9;
    await write(other);
    expect((await CausalLM.load(folder)).config.tieWordEmbeddings).toBe(false);
  });
});
