import { join } from 'node:path';
import { currentEngine, type Engine, realize, type Tensor, tensor } from '@posttrain/core-tensor';
import {
  isShardSize,
  openSafetensorsFolder,
  SHARD_SIZE,
  stageSafetensorsFolder,
  type TensorSource,
  type TensorToWrite,
} from '@posttrain/core-tensor/io';
import {
  INT4_ACTIVATIONS,
  type Int4Activations,
  type QuantizedFormat,
  type QuantizedWeight,
  quantizedTensors,
} from '@posttrain/core-tensor/quantization';
import { assertKnownOptions, boolean, custom, type Given, oneOf, options } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { storedHead } from '../config/head-config.js';
import { loadModelConfig, type ModelConfig, saveModelConfig, withLongContext } from '../config/index.js';
import { findGguf } from '../gguf/find-gguf.js';
import { GgufModelSource, openGgufModel } from '../gguf/model-source.js';
import { assertModelFolder } from '../model-folder.js';
import { transposed } from '../transposed.js';
import { fuseExperts, splitExperts } from './fused-experts.js';
import { tooLarge } from './implied-size.js';
import type { ModuleInfo, Weights } from './layers.js';
import { LOAD_HINTS } from './load-hints.js';
import { assertFits } from './memory-need.js';
import type { Network } from './network.js';
import { networkOf } from './network-of.js';
import {
  assertQuantization,
  configQuantizedWith,
  formatOf,
  ModelQuantizationError,
  modulesToQuantize,
  type QuantizationOptions,
  quantizeLinear,
} from './quantize.js';
import { companionNames, INT4_FORMATS, int4ConfigOf, quantizedFileTensors, readQuantized } from './quantized-files.js';
import { isQuantized, weightEntries } from './quantized-layer.js';
import { widened } from './small-float-source.js';
import { OUTPUT_LAYER, outputLayerIn, resolveNames, storedName, WeightMismatchError } from './stored-names.js';

/** How weights that a GGUF file has quantised stay so. */
export interface KeepOptions {
  readonly method: 'keep';
  /** What products round their inputs to, block by block. Default `float32`: they are not rounded. */
  readonly activations?: Int4Activations;
}

const isEngine = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && typeof (value as Partial<Engine>).compile === 'function';
const loadShape = {
  /**
   * Quantise the linear layers (and the output layer, with `head`), one after the other as they are read. Default: they stay
   * as the folder has them; those of a GGUF file become float32. `keep` (GGUF files only) holds linear layers and an output
   * layer of its own that are Q4_0 in the file as `int4` with the same codes and scales, and makes the rest float32; as `{ method: 'keep', activations: 'int8' }`, with products that round as llama.cpp's.
   */
  quantization: custom<QuantizationOptions | 'keep' | KeepOptions>()(
    'a method of quantisation', // refused with more words by `chosenQuantization`
    () => true,
    { optional: true },
  ),
  /**
   * Of a model whose rotary positions have factors for short and for long sequences (Phi-3 with longrope), take the long
   * ones, and with them the long context. Default false.
   */
  longContext: boolean({ default: false }),
  /** What the model computes on, for good. Default: the engine that is set when loading begins. */
  engine: custom<Engine>()('an engine', isEngine, { optional: true }),
};
const loadOptions = options('loading a model', loadShape, { hints: LOAD_HINTS });
/** Options of reading a model's weights. */
export type LoadWeightsOptions = Given<typeof loadOptions>;

/** A model's weights as they were read, with the network and the config that they belong to. */
export interface LoadedWeights {
  readonly config: ModelConfig;
  readonly weights: Weights;
  /** The network of the config, which knows how each weight is stored. */
  readonly network: Network;
}

/** What a model is read from: an open file or folder of tensors, and the config that they should fit. */
export interface OpenModel {
  readonly config: ModelConfig;
  readonly source: TensorSource;
}

/**
 * Reads the weights of a Hugging Face model folder, or of a GGUF file, as float32 tensors; those that bitsandbytes
 * quantised, or compressed-tensors or the tools of GPTQ or AWQ packed, stay so. Strict both ways: a missing tensor, a tensor of another shape and a tensor that the
 * architecture has no place for are all errors.
 *
 * @throws WeightMismatchError, ModelQuantizationError, ModelMemoryError, and what `openSafetensorsFolder` and `loadModelConfig` throw
 */
export async function loadWeights(folder: string, given: LoadWeightsOptions = {}): Promise<LoadedWeights> {
  const options = { engine: currentEngine(), ...given };
  await assertModelFolder('loadWeights', folder);
  const file = await findGguf(folder);
  if (file !== undefined) return readWeights(await openGgufModel(file), options);
  const config = await loadModelConfig(folder);
  return readWeights({ config, source: await openSafetensorsFolder(folder) }, options, folder);
}

function chosenQuantization({ quantization }: LoadWeightsOptions): {
  readonly keep?: KeepOptions;
  readonly quantization?: QuantizationOptions;
} {
  if (quantization === undefined) return {};
  if (quantization === 'keep') return { keep: { method: 'keep' } };
  assertQuantization(quantization);
  if (quantization.method !== 'keep') return { quantization };
  assertKnownOptions('quantization "keep"', quantization, ['method', 'activations']);
  const { activations = 'float32' } = quantization;
  if (INT4_ACTIVATIONS.includes(activations)) return { keep: quantization };
  throw new ModelQuantizationError(
    `quantization: activations "${activations}" is not one of ${INT4_ACTIVATIONS.join(', ')}.`,
  );
}

/** `loadWeights` of a model that is open already; closes it. @param path named in errors */
export async function readWeights(
  opened: OpenModel,
  given: LoadWeightsOptions = {},
  path: string = opened.source.path,
): Promise<LoadedWeights> {
  try {
    const { config: found, source: floats } = widened(opened);
    const { leftOut = [], ...own } = found;
    const stored = own as ModelConfig;
    const source = splitExperts(floats, stored);
    const options = loadOptions.read(given);
    const { engine = currentEngine(), longContext } = options;
    const described = longContext ? withLongContext(stored) : stored;
    const { keep, quantization } = chosenQuantization(options);
    if (quantization && described.quantization) {
      throw new ModelQuantizationError(
        `${path} is quantised already (${described.quantization.method}): load it without the option "quantization".`,
      );
    }
    if (keep && !(source instanceof GgufModelSource)) {
      throw new ModelQuantizationError(`${path} is no GGUF file: load it without the option quantization "keep".`);
    }
    const head = storedHead(described, source.tensors);
    const whole = head ? { ...described, head } : described;
    const problem = tooLarge(whole, source.tensors.values());
    if (problem) throw new WeightMismatchError(path, [problem]);
    const config = await withStoredOutputLayer(whole, source);
    const { parameters, modules } = networkOf(config);
    const chosen = quantization ? modulesToQuantize(modules.values(), quantization) : [];
    const names = resolveNames(path, parameters, source.tensors, config, leftOut);
    assertFits(
      path,
      parameters.map(({ name, shape }) => {
        const [module, tensor] = [modules.get(name.slice(0, -'.weight'.length)), names.get(name)!];
        const isStored = companionNames(tensor, source.tensors).length > 0 || keep !== undefined;
        const kept = isStored ? source.tensors.get(tensor) : undefined;
        const bits = quantization?.method === 'int8' ? 8 : 4;
        return { shape, kept, ...(module && chosen.includes(module) && { bitsPerWeight: bits }) };
      }),
    );
    const weights: Record<string, Tensor> = {};
    const quantized = new Map<string, QuantizedFormat>();
    const scattered: string[] = [];
    const put = (name: string, module: ModuleInfo, weight: QuantizedWeight) => {
      quantized.set(module.name, formatOf(weight));
      Object.assign(weights, Object.fromEntries(weightEntries(name, quantizedTensors(weight))));
    };
    for (const { name, shape } of parameters) {
      const stored = names.get(name)!;
      const module = modules.get(name.slice(0, -'.weight'.length));
      if (module && companionNames(stored, source.tensors).length > 0) {
        const weight = await readQuantized(source, stored, config.quantization);
        checkQuantized(path, stored, weight.shape, module.transposed ? [...shape].reverse() : shape);
        if ('method' in weight) put(name, module, weight);
        else {
          const { data } = module.transposed ? transposed(weight) : weight;
          weights[name] = tensor(data, shape, 'float32');
          scattered.push(module.name);
        }
        continue;
      }
      const isKept = keep && (module?.kind === 'linear' || module?.kind === 'head');
      const kept = isKept ? await (source as GgufModelSource).readQuantized(stored) : undefined;
      if (module && kept) {
        put(name, module, { ...kept, activations: keep?.activations ?? kept.activations });
        continue;
      }
      const { data } = await source.read(stored, { as: 'float32' });
      // A tied output layer is quantised beside the embedding.
      const targets = module ? chosen.filter((to) => (to.tiedTo ?? to.name) === module.name) : [];
      for (const target of targets) {
        const weight = quantizeLinear({ data: data as Float32Array, shape }, target, quantization!);
        put(`${target.name}.weight`, target, weight);
      }
      if (!targets.some((target) => target === module)) weights[name] = tensor(data, shape, 'float32');
    }
    if (keep && quantized.size === 0) {
      throw new ModelQuantizationError(
        `${path}: no linear layer is Q4_0, nor is the output layer, so there is nothing to keep as int4.`,
      );
    }
    if (scattered.length > 0) {
      process.emitWarning(
        `${path}: ${scattered.length} layers (${scattered[0]}, …) have groups that act-order has scattered; they are read as float32, which takes eight times the memory.`,
        'PosttrainWarning',
      );
    }
    const { quantization: _codes, ...float } = config;
    const isFloat = scattered.length > 0 && quantized.size === 0;
    const read = isFloat ? (float as ModelConfig) : config;
    const full = quantization ? configQuantizedWith(read, modules.values(), quantization) : read;
    return { config: full, weights, network: networkOf(full, quantized, engine) };
  } finally {
    await opened.source.close();
  }
}

/**
 * A config with `tie_word_embeddings` whose folder has an output layer of other values all the same (a merged adapter of it,
 * say) is read as one that is not tied: transformers uses the stored layer. One that equals the embedding stays tied.
 */
async function withStoredOutputLayer(config: ModelConfig, source: TensorSource): Promise<ModelConfig> {
  const tiedTo = config.tieWordEmbeddings ? networkOf(config).modules.get('lm_head')?.tiedTo : undefined;
  const [head, embedding] = [outputLayerIn(config), `${tiedTo}.weight`].map((name) => storedName(name, source.tensors));
  if (tiedTo === undefined || head === undefined || embedding === undefined) return config;
  const stored = (): ModelConfig => {
    process.emitWarning(
      `config.json says tie_word_embeddings, but the folder has an output layer "${head}" of its own; it is used, as in transformers.`,
      'PosttrainWarning',
    );
    return { ...config, tieWordEmbeddings: false };
  };
  const [own, shared] = [source.tensors.get(head)!, source.tensors.get(embedding)!];
  if (`${own.shape}` !== `${shared.shape}`) return stored();
  const { data: a } = await source.read(head, { as: 'float32' });
  const { data: b } = await source.read(embedding, { as: 'float32' });
  return a.every((value, i) => value === b[i]) ? config : stored();
}

function checkQuantized(folder: string, name: string, found: readonly number[], wanted: readonly number[]): void {
  if (`${found}` === `${wanted}`) return;
  throw new WeightMismatchError(folder, [
    `${name} is a quantised weight [${found.join(', ')}] where the config asks for [${wanted.join(', ')}]`,
  ]);
}

/** What other libraries call the dtypes. */
const DTYPE_NAMES: Readonly<Record<string, 'float32' | 'float16' | 'bfloat16'>> = {
  ...{ fp32: 'float32', f32: 'float32', float: 'float32', bf16: 'bfloat16' },
  ...{ fp16: 'float16', f16: 'float16', half: 'float16' },
};

const saveOptions = options(
  'saving a model',
  {
    /** The dtype to store. Default float32. */
    dtype: oneOf(['float32', 'float16', 'bfloat16'], { default: 'float32' }, DTYPE_NAMES),
    /** Most bytes of a file of weights, a number or a text like `'5GB'`; more are split over several as transformers does. Default 5e9. */
    maxShardBytes: custom<number | string>()(SHARD_SIZE, isShardSize, { optional: true }),
    /**
     * What int4 weights are written as: `pack-quantized` (compressed-tensors), `gptq` or `gptq_v2` (GPTQ's two checkpoint formats) or `awq`
     * (AutoAWQ's `gemm`), whose scales are stored in `dtype`: their tools have float16. Default: `pack-quantized`.
     */
    int4Format: oneOf(INT4_FORMATS, { optional: true }),
  },
  {
    aliases: {
      torch_dtype: 'dtype',
      torchDtype: 'dtype',
      max_shard_size: 'maxShardBytes',
      maxShardSize: 'maxShardBytes',
    },
    hints: { safe_serialization: 'It is always so.', safeSerialization: 'It is always so.' },
  },
);
/** Options of writing a model's weights. */
export type SaveWeightsOptions = Given<typeof saveOptions>;

/** Files of a model folder that not every model has, and that must not outlive the model they belong to. */
const OPTIONAL_FILES = [
  ...['generation_config.json', 'chat_template.jinja', 'additional_chat_templates'],
  ...['tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'],
];

/**
 * Writes config.json and the weights into `folder`, in a form that `transformers` loads. `writeOthers` writes the files
 * beside them into a folder inside `folder`, from where they are moved. All of it appears together: over an older model, a
 * reader finds the old one or the new one, also when the process is killed.
 */
export async function saveWeights(
  folder: string,
  config: ModelConfig,
  weights: Weights,
  given: SaveWeightsOptions = {},
  writeOthers?: (staging: string) => Promise<void>,
  network: Network = networkOf(config),
): Promise<void> {
  const { dtype, maxShardBytes, int4Format } = saveOptions.read(given);
  const packed = int4ConfigOf(network.modules.values(), int4Format, config.quantization);
  const described = packed ? { ...config, quantization: packed } : config;
  const tensors: TensorToWrite[] = [];
  for (const { name, shape } of network.parameters) {
    const weight = weights[name];
    if (!weight) throw new WeightMismatchError(folder, [`${name} is missing`]);
    const module = network.modules.get(name.slice(0, -'.weight'.length));
    if (module && isQuantized(module)) {
      const stored = await quantizedFileTensors(module, weights, dtype, packed);
      for (const [part, { shape: partShape, ...rest }] of Object.entries(stored)) {
        tensors.push({ name: part, shape: partShape, ...rest });
      }
    } else {
      const stored = name === OUTPUT_LAYER ? outputLayerIn(config) : name;
      tensors.push({ name: stored, shape, dtype, data: () => storedData(weight.cast(dtype), network.engine) });
    }
  }
  await writeAtomically(async (files) => {
    const staging = await files.stageFolder(folder);
    await saveModelConfig(staging, { ...described, dtype });
    await writeOthers?.(staging);
    const parameters = network.parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    const shards = { parameters, ...(maxShardBytes !== undefined && { maxShardBytes }) };
    await stageSafetensorsFolder(files, folder, fuseExperts(tensors, config), shards);
    if (writeOthers) for (const name of OPTIONAL_FILES) files.remove(join(folder, name));
  });
}

/** The reference engine computes float32 tensors in double precision. */
async function storedData(weight: Tensor, engine: Engine): Promise<Float32Array | Uint16Array> {
  await realize([weight], { engine });
  const data = await weight.data();
  return data instanceof Float64Array ? Float32Array.from(data) : (data as Float32Array | Uint16Array);
}
