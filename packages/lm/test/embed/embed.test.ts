import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { grad, iota, Key, realize, type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensors, saveSafetensors } from '@posttrain/core-tensor/io';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadEncoderConfig, parseEncoderConfig } from '../../src/config/index.js';
import { loadEncoderWeights } from '../../src/embed/bert-encoder.js';
import { InvalidModelFileError } from '../../src/files.js';
import {
  BertEncoder,
  classifierLogits,
  encoderNetwork,
  instructedQuery,
  type LayerHooks,
  LocalEmbedder,
  loadEmbedder,
  loadEncoderClassifier,
  loadWeights,
  type Pooling,
  parseBertConfig,
  parseEncoderClassifierConfig,
  pool,
  Tokenizer,
  type Weights,
} from '../../src/index.js';
import { bertNetwork } from '../../src/model/bert.js';
import { readKeyTable, runPatches } from '../config/key-table.js';
import {
  ENGINES,
  largestDifference,
  modelFolder,
  readGolden,
  temporaryFolder,
  tinyModel,
  tokenizerFolder,
} from '../support.js';

const golden = join(import.meta.dirname, '../../../../goldens/embeddings');
const folder = join(golden, 'bert');

async function rowsOf(name: string): Promise<number[][]> {
  const { read } = await readGolden(golden);
  const rows = await read(name);
  const [width, values] = [rows.shape[1]!, await rows.toArray()];
  return Array.from({ length: rows.shape[0]! }, (_, i) => values.slice(i * width, (i + 1) * width));
}

const expectClose = (actual: readonly ArrayLike<number>[], expected: readonly ArrayLike<number>[], within = 1e-5) => {
  expect(actual).toHaveLength(expected.length);
  for (const [i, row] of actual.entries()) {
    expect(row).toHaveLength(expected[i]!.length);
    expect(largestDifference(row, expected[i]!), `row ${i}`).toBeLessThan(within);
  }
};

/** A folder like the golden one, with some of its files replaced. */
async function changedFolder(files: Readonly<Record<string, unknown>>): Promise<string> {
  const copy = join(await temporaryFolder(), 'model');
  await cp(folder, copy, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    if (content === undefined) await rm(join(copy, name));
    else await writeFile(join(copy, name), JSON.stringify(content));
  }
  return copy;
}

describe('WordPiece', () => {
  it('gives the ids and texts of transformers', async () => {
    const { json } = await readGolden(golden);
    const tokenizer = await Tokenizer.load(folder);
    expect(json.texts.map((text: string) => tokenizer.encode(text))).toEqual(json.ids);
    const decoded = json.ids.map((ids: number[]) => tokenizer.decode(ids, { skipSpecialTokens: true }));
    expect(decoded).toEqual(json.decoded);
  });
});

describe.each(ENGINES)('on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();
  let encoder: BertEncoder;
  let texts: string[];

  beforeAll(async () => {
    encoder = await onEngine(engine, () => BertEncoder.load(folder));
    texts = JSON.parse(await readFile(join(golden, 'expected.json'), 'utf8')).texts;
  });

  it('a sentence-transformers folder embeds texts as sentence-transformers does', () =>
    onEngine(engine, async () => {
      const embedder = await loadEmbedder(folder);
      expect([embedder.pooling, embedder.normalize, embedder.maxTokens]).toEqual(['mean', true, 24]);
      const short = texts.flatMap((text, i) => (embedder.tokenIds(text).length <= 24 ? [i] : []));
      expect(short.length).toBeGreaterThan(2);
      const expected = await rowsOf('normalized.mean');
      expectClose(
        await embedder.embed(short.map((i) => texts[i]!)),
        short.map((i) => expected[i]!),
      );
    }));

  it.each(['cls', 'mean', 'max', 'last'] as const)('pools by %s as sentence-transformers does', (pooling) =>
    onEngine(engine, async () => {
      const embedder = new LocalEmbedder(encoder, { pooling, normalize: false });
      expectClose(await embedder.embed(texts), await rowsOf(`pooled.${pooling}`));
    }),
  );

  it('has a vector of every token, transformers’ hidden states, whose mean is the embedding', () =>
    onEngine(engine, async () => {
      const embedder = new LocalEmbedder(encoder, { pooling: 'mean', normalize: false });
      const found = await embedder.tokenVectors(texts);
      const { read } = await readGolden(golden);
      const hidden = await read('hidden');
      const [, length, width] = hidden.shape as [number, number, number];
      const values = await hidden.toArray();
      const means = await embedder.embed(texts);
      found.forEach(({ tokens, vectors, special }, row) => {
        const expected = tokens.map((_, i) => values.slice((row * length + i) * width, (row * length + i + 1) * width));
        expectClose(vectors, expected);
        const mean = Array.from(
          { length: width },
          (_, k) => vectors.reduce((sum, v) => sum + v[k]!, 0) / vectors.length,
        );
        expectClose([mean], [means[row]!]);
        // [CLS] and [SEP].
        expect(special.map((is, i) => (is ? i : -1)).filter((i) => i >= 0)).toEqual([0, tokens.length - 1]);
      });
      await expect(embedder.tokenVectors('text' as never)).rejects.toThrow('texts');
    }));

  it('an embedding does not depend on the batch', () =>
    onEngine(engine, async () => {
      const many = Array.from({ length: 21 }, (_, i) => texts.slice(i % 5, 1 + (i % 5) + (i % 3)).join(' ')).map(
        (text) => text.slice(0, 24),
      );
      for (const pooling of ['mean', 'max', 'last'] satisfies Pooling[]) {
        const together = await new LocalEmbedder(encoder, { pooling }).embed(many);
        const small = new LocalEmbedder(encoder, { pooling, maxTokensPerPass: 1 });
        const turned = await new LocalEmbedder(encoder, { pooling, maxTokensPerPass: 100 }).embed([...many].reverse());
        expectClose(turned.reverse(), together);
        expectClose(await small.embed(many), together);
        for (const vector of together) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
      }
    }));

  it('a causal model embeds as transformers, pooled by last and mean', () =>
    onEngine(engine, async () => {
      const { weights, network } = await loadWeights(modelFolder('qwen3'));
      const { read } = await readGolden(golden);
      const lengths = (await (await read('causal.mask')).sum(1).toArray()) as number[];
      const ids = (await (await read('causal.ids')).toArray()) as number[];
      const sequences = lengths.map((length, i) => ids.slice(9 * i, 9 * i + length));
      const tokenizer = await Tokenizer.load(tokenizerFolder('byte-level-bpe'));
      for (const pooling of ['last', 'mean'] as const) {
        const model = { name: 'qwen3', weights, network, tokenizer };
        const embedder = new LocalEmbedder(model, { pooling, normalize: false });
        expectClose(await embedder.embedTokens(sequences), await rowsOf(`causal.${pooling}`));
      }
    }));
});

describe('ModernBERT', () => {
  const modern = join(golden, '../modernbert');
  const trunk = join(modern, 'sequence-cls');
  const rowsIn = (tokens: readonly number[][]) => {
    const width = Math.max(...tokens.map((row) => row.length));
    const int = (of: (row: readonly number[], i: number) => number) =>
      tensor(
        Int32Array.from(tokens.flatMap((row) => Array.from({ length: width }, (_, i) => of(row, i)))),
        [tokens.length, width],
        'int32',
      );
    return {
      tokens: int((row, i) => row[i] ?? 0),
      positions: int((_, i) => i),
      segments: int((row, i) => Number(i >= row.length)),
    };
  };
  const texts = async (): Promise<number[][]> => {
    const { read, json } = await readGolden(modern);
    const ids = (await (await read('ids')).toArray()) as number[];
    return json.lengths.map((length: number, row: number) => ids.slice(14 * row, 14 * row + length));
  };

  it('has the hidden states of transformers: padded, alone, and as texts in one row', async () => {
    const { read } = await readGolden(modern);
    const network = encoderNetwork(await loadEncoderConfig(trunk));
    const weights = await loadEncoderWeights(trunk, network);
    const sequences = await texts();
    const expected = await (await read('hidden')).toArray();
    const padded = await network.hidden(weights, rowsIn(sequences)).toArray();
    for (const [row, sequence] of sequences.entries()) {
      const want = expected.slice(row * 14 * 16, (row * 14 + sequence.length) * 16);
      expect(largestDifference(padded.slice(row * 14 * 16, (row * 14 + sequence.length) * 16), want)).toBeLessThan(
        1e-5,
      );
      const alone = await network.hidden(weights, rowsIn([sequence])).toArray();
      expect(largestDifference(alone, want)).toBeLessThan(1e-5);
    }
    const whole = sequences.flat();
    const of = (value: (i: number, text: number) => number) =>
      tensor(
        Int32Array.from(sequences.flatMap((s, text) => s.map((_, i) => value(i, text)))),
        [1, whole.length],
        'int32',
      );
    const packed = {
      tokens: tensor(Int32Array.from(whole), [1, whole.length], 'int32'),
      positions: of((i) => i),
      segments: of((_, text) => text),
    };
    const wanted = sequences.flatMap((s, row) => expected.slice(row * 14 * 16, (row * 14 + s.length) * 16));
    expect(largestDifference(await network.hidden(weights, packed).toArray(), wanted)).toBeLessThan(1e-5);
    expect(() => network.hidden(weights, packed, { virtualTokens: tensor([0]) as never })).toThrow(
      /encoder takes no virtual/,
    );
  });

  it('trains a LoRA as PEFT does', async () => {
    const { read, names } = await readGolden(modern);
    const network = encoderNetwork(await loadEncoderConfig(trunk));
    const weights = await loadEncoderWeights(trunk, network);
    const file = await openSafetensors(join(modern, 'lora/adapter_model.safetensors'));
    const source: Record<string, Tensor> = {};
    for (const [name, { shape }] of file.tensors)
      source[name] = tensor((await file.read(name, { as: 'float32' })).data, shape);
    await file.close();
    const input = rowsIn(await texts());
    const mask = input.segments.neg().add(1).cast('float32').expandDims(2);
    const run = (lora: Weights) => {
      const linear: LayerHooks['linear'] = (x, layer) => {
        const [a, b] = ['A', 'B'].map((part) => lora[`base_model.model.${layer.name}.lora_${part}.weight`]);
        return a
          ? layer.apply(x).add(x.matmul(a, { transposeB: true }).matmul(b!, { transposeB: true }).mul(2))
          : layer.apply(x);
      };
      return network.hidden(weights, input, { linear }).mul(mask);
    };
    expect(largestDifference(await run(source).toArray(), await (await read('adapted')).toArray())).toBeLessThan(1e-4);
    const signs = tensor(Array.from({ length: 16 }, (_, i) => (i % 2) * 2 - 1));
    const gradients = grad((lora: Weights) => run(lora).mul(signs).square().sum())(source);
    const checked = names.filter((name) => name.startsWith('gradient.'));
    expect(checked.length).toBe(Object.keys(source).length);
    await realize(Object.values(gradients));
    for (const name of checked) {
      const want = await (await read(name)).toArray();
      const scale = Math.max(1, ...want.map(Math.abs));
      expect(largestDifference(await gradients[name.slice(9)]!.toArray(), want) / scale, name).toBeLessThan(1e-4);
    }
  });

  it('classifies as transformers does, by the first token or the mean', async () => {
    const { read } = await readGolden(modern);
    const { network, weights } = await loadEncoderClassifier(trunk);
    const json = JSON.parse(await readFile(join(trunk, 'config-mean.json'), 'utf8'));
    const copy = join(await temporaryFolder(), 'mean');
    await cp(trunk, copy, { recursive: true });
    await writeFile(join(copy, 'config.json'), JSON.stringify(json));
    const sequences = await texts();
    for (const [name, model] of [
      ['cls', { network, weights }],
      ['mean', await loadEncoderClassifier(copy)],
    ] as const) {
      const want = (await (await read(`logits.${name}`)).toArray()) as number[];
      expectClose(
        await classifierLogits(model, sequences),
        [0, 1, 2].map((row) => want.slice(3 * row, 3 * row + 3)),
      );
      expectClose(
        await classifierLogits(model, sequences, { maxTokensPerPass: 1 }),
        [0, 1, 2].map((row) => want.slice(3 * row, 3 * row + 3)),
      );
    }
    expect(network.config.head.labels).toEqual(['no', 'yes', 'both']);
    const other = { ...json, architectures: ['ModernBertForTokenClassification'] };
    expect(() => parseEncoderClassifierConfig(other)).toThrow(
      /takes ModernBertForSequenceClassification, not ModernBertForToken/,
    );
    expect(() => parseEncoderClassifierConfig({ model_type: 'bert' })).toThrow(/not a bert without/);
  });

  it('reads the names of files on the hub, and is refused where the maths is another', () => {
    const hub = {
      model_type: 'modernbert',
      global_rope_theta: 7,
      local_rope_theta: 5,
      global_attn_every_n_layers: 2,
      num_hidden_layers: 3,
    };
    expect(parseEncoderConfig(hub)).toMatchObject({
      ...{ rope: { theta: 7 }, localRope: { theta: 5 }, localDistance: 64 },
      layerTypes: ['full_attention', 'sliding_attention', 'full_attention'],
    });
    for (const [key, value] of Object.entries({
      head_dim: 32,
      hidden_size: 12,
      rope_parameters: { rope_theta: 3 },
      quantization_config: {},
    })) {
      expect(() => parseEncoderConfig({ ...hub, [key]: value }), key).toThrow(InvalidModelFileError);
    }
  });

  it('gives what transformers gives for every altered key, or refuses', async () => {
    for (const kind of ['changed', 'same', 'refused'] as const) {
      expect((await runPatches('modernbert', (table) => table[kind])).wrong).toEqual([]);
    }
  });
});

it.each(['roberta', 'xlm-roberta'])(
  '%s has the hidden states of transformers, with padding in a text and texts in a row',
  async (name) => {
    expect((await runPatches(name, ({ changed }) => changed)).wrong).toEqual([]);
    const { config, ids } = readKeyTable(name);
    const network = bertNetwork(parseBertConfig(config));
    const weights = Object.fromEntries(
      network.parameters.map(({ name, shape }, i) => {
        const values = Key.fromSeed(i).normalHost(shape.reduce((a, b) => a * b, 1));
        return [name, tensor(values, shape)];
      }),
    );
    const row = (tokens: readonly number[], starts: readonly number[]) => {
      const start = tokens.map((_, i) => Math.max(...starts.filter((at) => at <= i)));
      const int = (of: (at: number, i: number) => number) =>
        tensor(Int32Array.from(start, of), [1, tokens.length], 'int32');
      return { tokens: int((_, i) => tokens[i]!), positions: int((at, i) => i - at), segments: int((at) => at) };
    };
    const hidden = (tokens: readonly number[], starts = [0]) => network.hidden(weights, row(tokens, starts)).toArray();
    const texts = [ids.slice(0, 5), ids.slice(5)];
    const apart = await Promise.all(texts.map((text) => hidden(text)));
    expect(largestDifference(await hidden(ids, [0, 5]), apart.flat())).toBeLessThan(1e-5);
  },
);

it('has the hidden states of transformers, and the gradients', async () => {
  const { read, names } = await readGolden(golden);
  const { network, weights, config } = await BertEncoder.load(folder);
  const [tokens, mask, hidden] = [await read('ids'), await read('mask'), await read('hidden')];
  const [b, s] = tokens.shape as [number, number];
  const input = { tokens, positions: iota([b, s], 1), segments: mask.neg().add(1) };
  const actual = network.hidden(weights, input).mul(mask.cast('float32').expandDims(2));
  expect(largestDifference(await actual.toArray(), await hidden.toArray())).toBeLessThan(1e-4);

  const signs = tensor(Array.from({ length: config.hiddenSize }, (_, i) => (i % 2) * 2 - 1));
  const loss = (w: Weights) => pool(network.hidden(w, input), mask.sum(1).sub(1), 'mean').mul(signs).square().sum();
  const gradients = grad(loss)(weights);
  const checked = names.filter((name) => name.startsWith('gradient.'));
  expect(checked).toHaveLength(3);
  for (const name of checked) {
    const gradient = await gradients[name.slice('gradient.'.length)]!.toArray();
    expect(largestDifference(gradient, await (await read(name)).toArray()), name).toBeLessThan(1e-3);
  }
});

describe('Qwen3-Embedding', () => {
  const qwen = join(golden, '../qwen3-embedding');

  it('embeds as sentence-transformers: no output layer in the file, the last token, an instruction before queries', async () => {
    const { json, read } = await readGolden(qwen);
    const model = join(qwen, 'model');
    const rows = async (name: string) => {
      const all = await read(name);
      const values = await all.toArray();
      return Array.from({ length: all.shape[0]! }, (_, i) => values.slice(16 * i, 16 * (i + 1)));
    };
    const queries = await loadEmbedder(model, { promptName: 'query' });
    expect([queries.pooling, queries.normalize]).toEqual(['last', true]);
    expect(json.queries.map((text: string) => queries.tokenIds(text))).toEqual(json.ids);
    const task = await loadEmbedder(model, { prompt: instructedQuery(json.task) });
    for (const embedder of [queries, task]) {
      expectClose(await embedder.embed(json.queries), await rows('queries'));
    }
    const documents = await loadEmbedder(model, { promptName: 'document', maxTokensPerPass: 100 });
    expectClose(await documents.embed(json.documents), await rows('documents'));
    expectClose(await (await loadEmbedder(model)).embed(json.queries), await rows('plain'));
    const own = await loadEmbedder(model, { prompt: instructedQuery('Classify') });
    expectClose(await own.embed(json.queries), await rows('own'));
    // A text alone, and beside others that are longer: padding does not count.
    const [alone] = await documents.embed([json.documents[1]]);
    expectClose([alone!], [(await rows('documents'))[1]!]);
  });

  it('refuses a prompt that the folder does not have, or two', async () => {
    const model = join(qwen, 'model');
    await expect(loadEmbedder(model, { promptName: 'title' })).rejects.toThrow(
      /no prompt "title"; it has "query", "document"/,
    );
    await expect(loadEmbedder(model, { promptName: 'query', prompt: 'x' })).rejects.toThrow(/prompt or promptName/);
    await expect(loadEmbedder(modelFolder('qwen3'), { promptName: 'query' })).rejects.toThrow(/it has none/);
  });
});

describe('LocalEmbedder', () => {
  it('cuts as transformers does, or says which text is too long', async () => {
    const { json } = await readGolden(golden);
    const embedder = await loadEmbedder(folder, { truncate: true });
    expect(embedder.tokenIds(json.long)).toEqual(json.cut);
    expect(embedder.tokenIds('a')).toEqual((await loadEmbedder(folder)).tokenIds('a'));
    const refused = (await loadEmbedder(folder)).embed(['a', json.long]);
    await expect(refused).rejects.toThrow(/embed: sequence 1 has \d+ tokens; it needs 1 to 24/);
    await expect((await loadEmbedder(folder, { truncate: true, maxTokens: 2 })).embed(['abc'])).rejects.toThrow(/room/);
  });

  it('reads prompt, limits, case and pooling from the folder, and lets options win', async () => {
    const copy = await changedFolder({
      '1_Pooling/config.json': { pooling_mode_cls_token: true, pooling_mode_mean_tokens: false },
      'config_sentence_transformers.json': { prompts: { query: 'find: ' }, default_prompt_name: 'query' },
      'sentence_bert_config.json': { max_seq_length: 512 },
      'modules.json': ['Transformer', 'Pooling'].map((type, i) => ({
        type: `st.models.${type}`,
        path: i ? '1_Pooling' : '',
      })),
    });
    const [plain, own] = [await BertEncoder.load(folder), await loadEmbedder(copy)];
    expect([own.pooling, own.normalize, own.maxTokens]).toEqual(['cls', false, 40]);
    const raw = new LocalEmbedder(plain, { pooling: 'cls', normalize: false });
    expectClose(await own.embed([' x y ']), await raw.embed(['find: x y']), 1e-7);
    const other = await loadEmbedder(copy, { prompt: '', pooling: 'max' });
    expect([other.pooling, other.tokenIds('x')]).toEqual(['max', plain.tokenizer.encode('x')]);
  });

  it('embeds with any causal model, an adapter on or off', async () => {
    const model = await tinyModel();
    expect(new LocalEmbedder(model).pooling).toBe('last');
    const text = 'one two three';
    const [vector] = await new LocalEmbedder(model, { normalize: false }).embed([text]);
    const [longer] = await new LocalEmbedder(model, { normalize: false }).embed([`${text} four`]);
    expect(largestDifference(vector!, longer!)).toBeGreaterThan(1e-3);
    const target = 'model.layers.0.mlp.down_proj';
    const linear: LayerHooks['linear'] = (x, layer) => layer.apply(x).mul(layer.name === target ? 2 : 1);
    const adapter = { name: 'twice', parameters: {}, hooks: () => ({ linear }) };
    const doubled = { ...model.weights, [`${target}.weight`]: model.weights[`${target}.weight`]!.mul(2) };
    const [adapted] = await new LocalEmbedder(model, { normalize: false, adapter: () => adapter }).embed([text]);
    const [expected] = await new LocalEmbedder(model.withWeights(doubled), { normalize: false }).embed([text]);
    expectClose([adapted!], [expected!]);
    expect(largestDifference(adapted!, vector!)).toBeGreaterThan(1e-3);
    await expect(new LocalEmbedder(model).embedTokens([[]])).rejects.toThrow(/sequence 0 has 0 tokens/);
  });

  it('refuses unknown poolings and options', async () => {
    const encoder = await BertEncoder.load(folder);
    expect(() => new LocalEmbedder(encoder, { pooling: 'sum' as never })).toThrow(
      /pooling is "sum"; it must be one of "cls", "mean", "max", "last"/,
    );
    expect(() => new LocalEmbedder(encoder, { normalise: true } as never)).toThrow(/Did you mean "normalize"/);
    await expect(loadEmbedder(folder, { pool: 'max' } as never)).rejects.toThrow(/unknown option "pool"/);
  });
});

describe('folders', () => {
  const refused: [name: string, files: Record<string, unknown>, message: RegExp][] = [
    [
      'another module',
      {
        'modules.json': [
          { type: 'a.Transformer', path: '' },
          { type: 'a.Dense', path: '2_Dense' },
        ],
      },
      /Transformer, Dense/,
    ],
    ['modules that are no list', { 'modules.json': {} }, /modules\.json: must be a list/],
    ['a module outside', { 'modules.json': [{ type: 'a.Transformer', path: '../x' }] }, /leaves the folder/],
    [
      'two poolings',
      { '1_Pooling/config.json': { pooling_mode_cls_token: true, pooling_mode_max_tokens: true } },
      /one of .* must be true/,
    ],
    [
      'a pooling by another name',
      { '1_Pooling/config.json': { pooling_mode: 'weightedmean' } },
      /has weightedmean; one of/,
    ],
    ['several by name', { '1_Pooling/config.json': { pooling_mode: ['cls', 'mean'] } }, /has cls and mean; one of/],
    ['another task', { 'sentence_bert_config.json': { transformer_task: 'fill-mask' } }, /"transformer_task" is not/],
    ['a mode that is no switch', { '1_Pooling/config.json': { pooling_mode_cls_token: 1 } }, /must be true or false/],
    ['an unknown key of pooling', { '1_Pooling/config.json': { window: 3 } }, /"window" is not supported/],
    ['a sparse encoder', { 'config_sentence_transformers.json': { model_type: 'SparseEncoder' } }, /"model_type"/],
    ['a cut of the vectors', { 'config_sentence_transformers.json': { truncate_dim: 8 } }, /"truncate_dim" is not/],
    [
      'prompts that are none',
      { 'config_sentence_transformers.json': { prompts: ['x'] } },
      /"prompts" must be an object/,
    ],
    [
      'a prompt by the name of a method',
      { 'config_sentence_transformers.json': { prompts: {}, default_prompt_name: 'constructor' } },
      /has no such text/,
    ],
    [
      'a default prompt that is no name',
      { 'config_sentence_transformers.json': { prompts: {}, default_prompt_name: 5 } },
      /has no such text/,
    ],
    ['other arguments', { 'sentence_bert_config.json': { model_args: { x: 1 } } }, /"model_args" is not supported/],
    [
      'a limit of text',
      { 'sentence_bert_config.json': { max_seq_length: '24' } },
      /"max_seq_length" must be a positive/,
    ],
    ['weighted pooling', { '1_Pooling/config.json': { pooling_mode_weightedmean_tokens: true } }, /weightedmean/],
    ['no pooling config', { '1_Pooling/config.json': undefined }, /there is no such file/],
    ['a prompt without text', { 'config_sentence_transformers.json': { default_prompt_name: 'q' } }, /"q"/],
  ];
  it.each(refused)('refuses %s', async (_, files, message) => {
    await expect(loadEmbedder(await changedFolder(files))).rejects.toThrow(message);
  });

  it.each([
    [{ pooling_mode: 'cls' }, 'cls'],
    [{ pooling_mode: ['lasttoken'], embedding_dimension: 32 }, 'last'],
    [{ pooling_mode: 'max', pooling_mode_cls_token: true }, 'max'],
    [{ pooling_mode_cls_token: true }, 'cls'],
    [{ pooling_mode_cls_token: false }, 'mean'],
    [{}, 'mean'],
  ])('pools by %j as sentence-transformers 6 does', async (pooling, expected) => {
    const transformer = { transformer_task: 'feature-extraction', max_seq_length: 24 };
    const files = { '1_Pooling/config.json': pooling, 'sentence_bert_config.json': transformer };
    expect((await loadEmbedder(await changedFolder(files))).pooling).toBe(expected);
  });

  it('refuses configs whose maths is another', () => {
    const bert = { model_type: 'bert' };
    expect(parseBertConfig(bert)).toMatchObject({ vocabSize: 30522, hiddenSize: 768, layerNormEps: 1e-12 });
    for (const [key, value] of [
      ['position_embedding_type', 'relative_key'],
      ['is_decoder', true],
      ['hidden_size', 30],
    ]) {
      expect(() => parseBertConfig({ ...bert, [key as string]: value })).toThrow(new RegExp(`"${key}" must be`));
    }
    expect(parseBertConfig({ model_type: 'roberta' })).toMatchObject({ maxPositionEmbeddings: 510, paddedFrom: 1 });
    expect(() => parseBertConfig({ model_type: 'xlm-roberta', pad_token_id: null })).toThrow(/"pad_token_id" must be/);
    expect(() => parseBertConfig({ model_type: 'electra' })).toThrow(/"model_type" must be one of bert/);
  });

  it('reads the names of old checkpoints and of models with heads, and is strict otherwise', async () => {
    const copy = await changedFolder({});
    const source = await openSafetensors(join(folder, 'model.safetensors'));
    const stored = await Promise.all(
      [...source.tensors.keys()].map(async (name) => {
        const { data, shape } = await source.read(name);
        return { name, shape, data: data as Float32Array };
      }),
    );
    await source.close();
    const write = (rename: (name: string) => string) =>
      saveSafetensors(
        copy,
        stored.map(({ name, shape, data }) => ({
          name: rename(name),
          shape,
          dtype: 'float32',
          data: async () => data,
        })),
      );
    const expected = await (await loadEmbedder(folder)).embed(['abc']);
    await write(
      (name) =>
        `bert.${name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')}`,
    );
    expectClose(await (await loadEmbedder(copy)).embed(['abc']), expected, 1e-9);
    await write((name) => name.replace('layer.1.output.dense.bias', 'layer.1.output.dense.other'));
    await expect(loadEmbedder(copy)).rejects.toThrow(
      /layer\.1\.output\.dense\.bias is missing.*dense\.other has no place/,
    );
  });
});
