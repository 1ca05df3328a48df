import { realize } from '@posttrain/core-tensor';
import { type Given, oneOf, options, text as optionText } from '@posttrain/interfaces';
import type { ModelConfig } from '../config/index.js';
import { type GgufArchitecture, ggufPlaceOf } from '../gguf/architectures.js';
import type { WrittenType } from '../gguf/encode-blocks.js';
import { UnsupportedGgufError } from '../gguf/errors.js';
import { architectureMetadata, architectureNameOf } from '../gguf/family-metadata.js';
import { architectureFor, WRITTEN_ARCHITECTURES } from '../gguf/gguf-config.js';
import { blockSize, type GgufEntries, type GgufTensorToWrite, text, uint32, writeGguf } from '../gguf/gguf-writer.js';
import { interleavedHeads, openGgufModel, pairsFromHalves } from '../gguf/model-source.js';
import { tokenizerMetadata } from '../gguf/tokenizer-metadata.js';
import type { CausalLM } from '../model/causal-lm.js';
import { floatWeight } from '../model/quantized-layer.js';
import { transposed } from '../transposed.js';

/** Formats of matrices, with llama.cpp's number for a file of them (`general.file_type`). */
const FILE_TYPES = { F32: 0, F16: 1, BF16: 32, Q8_0: 7, Q4_0: 2, Q4_K: 14 } as const;
type FileType = keyof typeof FILE_TYPES;
const TYPES = Object.keys(FILE_TYPES) as FileType[];

const saveGgufOptions = options('saveGguf', {
  /**
   * How linear layers are stored. Default `F16`. Rows that are no multiple of 256 (`Q4_K`) become Q5_0, rows that are none of 32
   * F16, as llama.cpp does. Norms, biases, routers and learned positions are F32 always.
   */
  type: oneOf<FileType, { readonly default: 'F16' }>(TYPES, { default: 'F16' }),
  /** How the embedding and the output layer are stored. Default: as `type`, and Q8_0 where that has 4 bits. */
  output: oneOf<FileType, { readonly optional: true }>(TYPES, { optional: true }),
  /** `general.name`. Default: the model's name without its folders. */
  name: optionText({ optional: true }),
});
/** Options of `saveGguf`. */
export type SaveGgufOptions = Given<typeof saveGgufOptions>;

/**
 * Writes a model as one GGUF file, which llama.cpp and `CausalLM.load` read: config, tokenizer, chat templates, weights.
 * Quantised weights are written as the numbers that their codes stand for, rounded to `type`. The file is read back before it
 * appears: config and tokenizer must mean what the model's mean. One tensor is held in float32 at a time.
 *
 * @throws UnsupportedGgufError where GGUF has no word for something of the model (named), or it is of a family whose files
 * are not read here; GgufWriteError for numbers that the format cannot hold; OptionError, FileError
 */
export async function saveGguf(model: CausalLM, path: string, given: SaveGgufOptions = {}): Promise<void> {
  const { type, output = type.startsWith('Q4') ? 'Q8_0' : type, name: called } = saveGgufOptions.read(given);
  const { config } = model;
  const name = architectureNameOf(config);
  if (name === undefined) {
    throw new UnsupportedGgufError(
      path,
      `a ${config.modelType} model is not written as GGUF; those of ${WRITTEN_ARCHITECTURES.join(', ')} are.`,
    );
  }
  if ('experts' in config && config.experts?.sparseLayers.includes(false)) {
    throw new UnsupportedGgufError(path, 'llama.cpp knows no mixture of experts that has layers without a router.');
  }
  const architecture = architectureFor(name, 'experts' in config && config.experts !== undefined)!;
  const { entries, factors } = architectureMetadata(config, name);
  const isQuantized = [type, output].some((chosen) => chosen.startsWith('Q'));
  const metadata: GgufEntries = {
    'general.architecture': text(name),
    'general.type': text('model'),
    'general.name': text(called ?? (model.name.split(/[/\\]/).at(-1) || name)),
    'general.file_type': uint32(FILE_TYPES[type]),
    ...(isQuantized && { 'general.quantization_version': uint32(2) }),
    ...entries,
    ...tokenizerMetadata(path, { ...tokenizerOf(model), vocabSize: config.vocabSize }),
  };
  const tensors = [...tensorsOf(model, path, architecture, { type, output })];
  for (const [factor, values] of Object.entries(factors)) {
    const parts = [async () => values];
    tensors.push({ name: `${factor}.weight`, type: 'F32', shape: [values.length], parts });
  }
  await writeGguf(path, metadata, tensors, (staged) => checkConfig(path, staged, config));
}

const tokenizerOf = ({ tokenizer, chatTemplate, endTokens }: CausalLM) => ({ tokenizer, chatTemplate, endTokens });

interface Types {
  readonly type: FileType;
  readonly output: FileType;
}

/** Every parameter, those of a layer's experts as one tensor. */
function tensorsOf(
  model: CausalLM,
  path: string,
  architecture: GgufArchitecture,
  types: Types,
): Iterable<GgufTensorToWrite> {
  const tensors = new Map<string, GgufTensorToWrite>();
  for (const { name, shape } of model.network.parameters) {
    const place = ggufPlaceOf(architecture, name);
    if (!place) throw new UnsupportedGgufError(path, `there is no place for ${name} in a file of its architecture.`);
    const { part, expert } = place;
    const isTransposed = shape.length === 2 && (architecture.transposed?.includes(part) ?? false);
    const stored = isTransposed ? [...shape].reverse() : shape;
    const read = async () => {
      let data = await floatData(model, name);
      if (isTransposed) ({ data } = transposed({ data, shape }));
      const heads = interleavedHeads(architecture, model.config, part);
      if (heads > 0) data = pairsFromHalves(data, stored[0]!, heads);
      return architecture.normsPlusOne && part.endsWith('norm') ? data.map((value) => value + 1) : data;
    };
    const earlier = tensors.get(place.name);
    const parts = [...(earlier?.parts ?? []), read];
    const whole = expert === undefined ? stored : [parts.length, ...stored];
    tensors.set(place.name, { name: place.name, type: typeFor(part, stored, types), shape: whole, parts });
  }
  return tensors.values();
}

function typeFor(part: string, shape: readonly number[], { type, output }: Types): WrittenType {
  if (shape.length === 1 || part === 'ffn_gate_inp' || part === 'position_embd') return 'F32';
  const wanted: WrittenType = part === 'token_embd' || part === 'output' ? output : type;
  const candidates: readonly WrittenType[] = wanted === 'Q4_K' ? [wanted, 'Q5_0', 'F16'] : [wanted, 'F16'];
  return candidates.find((candidate) => shape.at(-1)! % blockSize(candidate) === 0)!;
}

/** A weight in float32, in the layout of its module. */
async function floatData({ network, weights }: CausalLM, name: string): Promise<Float32Array> {
  const module = network.modules.get(name.slice(0, -'.weight'.length));
  const weight = module && name.endsWith('.weight') ? floatWeight(module, weights) : weights[name]!;
  const whole = weight.cast('float32');
  await realize([whole], { engine: network.engine });
  return Float32Array.from((await whole.data()) as Float32Array);
}

/** The file's config must be the model's, but for what no file of GGUF says and no computation reads. */
async function checkConfig(path: string, staged: string, config: ModelConfig): Promise<void> {
  const { config: read, source } = await openGgufModel(staged);
  await source.close();
  const [found, wanted] = [comparable(read), comparable(config)];
  const keys = new Set([...Object.keys(found), ...Object.keys(wanted)]);
  const differing = [...keys].find((key) => JSON.stringify(found[key]) !== JSON.stringify(wanted[key]));
  if (differing === undefined) return;
  throw new UnsupportedGgufError(
    path,
    `GGUF has no word for the model's ${differing} ${JSON.stringify(wanted[differing])}: it would be read as ${JSON.stringify(found[differing])}.`,
  );
}

function comparable(config: ModelConfig): Readonly<Record<string, unknown>> {
  const { initializerRange, dtype, bosTokenId, eosTokenIds, padTokenId, quantization, ...said } = config;
  // A Mistral without a window is a Llama.
  return { ...said, ...(said.modelType === 'mistral' && said.slidingWindow === undefined && { modelType: 'llama' }) };
}
