import { realize, type Tensor } from '@posttrain/core-tensor';
import {
  type FloatMatrix,
  type HqqOptions,
  hqq,
  type QuantizedFormat,
  type QuantizedWeight,
  type QuantizeInt4Options,
  type QuantizeInt8Options,
  type QuantizeNf4Options,
  quantizedTensors,
  quantizeInt4,
  quantizeInt8,
  quantizeNf4,
} from '@posttrain/core-tensor/quantization';
import { nearestName, PosttrainError, showValue } from '@posttrain/interfaces';
import type { ModelConfig } from '../config/index.js';
import type { QuantizationConfig } from '../config/quantization-config.js';
import { transposed } from '../transposed.js';
import type { ModuleInfo, Weights } from './layers.js';
import type { Network } from './network.js';
import { floatWeight, isQuantized, partKey, weightEntries } from './quantized-layer.js';

interface SkipOption {
  /** Linear layers to leave as they are: module paths or dotted endings of them. Default: none. */
  readonly skip?: readonly string[];
}

interface HeadOption {
  /**
   * Quantise the output layer (`lm_head`) too, which a small model's decoding reads most of its bytes for. One that is tied
   * to the embedding gets codes of its own, and is tied no more: the embedding stays float32. Default false.
   */
  readonly head?: boolean;
}

/**
 * How the linear layers of a model are quantised; embeddings and norms never are, the output layer with `head` only.
 *
 * - `nf4`, `fp4`: 4 bits, `quantizeNf4` (QLoRA)
 * - `int8`: 8 bits, `quantizeInt8` (LLM.int8())
 * - `int4`: 4 bits, `quantizeInt4` (ONNX Runtime's MatMulNBits)
 * - `hqq`: 4 bits, `hqq` (half-quadratic), to the codes of `int4`
 */
export type QuantizationOptions = SkipOption &
  (
    | ({ readonly method: 'nf4' | 'fp4' } & Omit<QuantizeNf4Options, 'levels'>)
    | ({ readonly method: 'int8' } & QuantizeInt8Options)
    | ({ readonly method: 'int4' } & HeadOption & QuantizeInt4Options)
    | ({ readonly method: 'hqq' } & Omit<HqqOptions, 'bits'>)
  );

/** A quantisation that was asked of a model that cannot have it. */
export class ModelQuantizationError extends PosttrainError {
  constructor(message: string) {
    super('MODEL_QUANTIZATION', message);
  }
}

const OUTPUT_LAYER = 'lm_head';
/** These look at what the model computes, so that there must be a model. */
const calibratedHint = (method: string) =>
  ` It needs the loaded model: (await CausalLM.load(folder)).quantize({ method: '${method}', rows }).`;
const METHODS = ['nf4', 'fp4', 'int8', 'int4', 'hqq'];
const CALIBRATED = ['gptq', 'awq', 'smoothquant'];

/** @throws ModelQuantizationError for what is no object with a method: a method's name alone, say */
export function assertQuantization(options: unknown): void {
  if (typeof options === 'object' && options !== null && 'method' in options) return;
  const method = METHODS.includes(options as string) ? options : METHODS[0];
  throw new ModelQuantizationError(
    `quantization is ${showValue(options)}; it must be an object with a method of ${METHODS.join(', ')}: { method: '${method}' }.`,
  );
}

/** Whether the options ask for the output layer. @throws ModelQuantizationError where the method has no such option */
function quantizesHead(options: QuantizationOptions): boolean {
  const { method, head = false }: { readonly method: string; readonly head?: unknown } = options;
  if (typeof head !== 'boolean') {
    throw new ModelQuantizationError(`quantization: head must be true or false, not ${JSON.stringify(head)}.`);
  }
  if (head && method !== 'int4') {
    throw new ModelQuantizationError(
      `quantization: head: true is for method "int4" only; with "${method}" the output layer stays float32.`,
    );
  }
  return head;
}

/**
 * The layers that the options select: linear ones, and the output layer where they ask for it.
 *
 * @throws ModelQuantizationError for an unknown method, an entry of `skip` that selects nothing, or `head` where there is
 * no output layer or the method does not take it
 */
export function modulesToQuantize(modules: Iterable<ModuleInfo>, options: QuantizationOptions): readonly ModuleInfo[] {
  assertQuantization(options);
  const { method, skip = [] } = options;
  if (!METHODS.includes(method)) {
    if (CALIBRATED.includes(method)) {
      const problem = `method ${showValue(method)} is not one of ${METHODS.join(', ')}`;
      throw new ModelQuantizationError(`quantization: ${problem}.${calibratedHint(method)}`);
    }
    const near = typeof method === 'string' ? nearestName(method, [...METHODS, ...CALIBRATED]) : undefined;
    const all = `${METHODS.join(', ')}, nor one of quantize() of a loaded model: ${CALIBRATED.join(', ')}`;
    throw new ModelQuantizationError(
      `quantization: method ${showValue(method)} is not one of ${all}.${near ? ` Did you mean "${near}"?` : ''}`,
    );
  }
  const all = [...modules];
  const linear = all.filter(({ kind }) => kind === 'linear');
  const isNamed = (name: string, entry: string) => name === entry || name.endsWith(`.${entry}`);
  for (const entry of skip) {
    if (linear.some(({ name }) => isNamed(name, entry))) continue;
    const endings = new Set(linear.map(({ name }) => name.slice(name.lastIndexOf('.') + 1)));
    const near = nearestName(entry, endings);
    throw new ModelQuantizationError(
      `quantization: skip "${entry}" is no linear layer.${near ? ` Did you mean "${near}"?` : ''} They end in ${[...endings].join(', ')}.`,
    );
  }
  const chosen = linear.filter(({ name }) => !skip.some((entry) => isNamed(name, entry)));
  if (!quantizesHead(options)) return chosen;
  const head = all.find(({ name }) => name === OUTPUT_LAYER);
  if (head) return [...chosen, head];
  throw new ModelQuantizationError(
    `quantization: head: true, but the model predicts no tokens: it has no output layer (${OUTPUT_LAYER}). Leave it out.`,
  );
}

/** Quantises the weight of a linear or output layer, which is stored as `transposed` says; the codes are of [out, in] always. */
export function quantizeLinear(
  weight: FloatMatrix,
  { transposed: isTransposed }: Pick<ModuleInfo, 'transposed'>,
  options: QuantizationOptions,
): QuantizedWeight {
  const matrix = isTransposed ? transposed(weight) : weight;
  if (options.method === 'int8') {
    const { method: _, skip: __, ...rest } = options;
    return quantizeInt8(matrix, rest);
  }
  if (options.method === 'int4') {
    const { method: _, skip: __, head: ___, ...rest } = options;
    return quantizeInt4(matrix, rest);
  }
  if (options.method === 'hqq') {
    const { method: _, skip: __, ...rest } = options;
    return hqq(matrix, rest).toInt4();
  }
  const { method: levels, skip: _, ...rest } = options;
  return quantizeNf4(matrix, { ...rest, levels });
}

/** What a quantised weight is without its numbers. */
export function formatOf({ parts: _, ...format }: QuantizedWeight): QuantizedFormat {
  return format;
}

/** The config of a model once it is quantised with these options. */
export function configQuantizedWith(
  config: ModelConfig,
  modules: Iterable<ModuleInfo>,
  options: QuantizationOptions,
): ModelConfig {
  const quantization = quantizationConfigOf(modules, options);
  return {
    ...config,
    ...(quantization && { quantization }),
    // Its codes are not the embedding's numbers.
    ...(quantizesHead(options) && { tieWordEmbeddings: false }),
  };
}

/** What `config.json` says of it; undefined for int4's codes: how they are stored is said when they are. */
function quantizationConfigOf(
  modules: Iterable<ModuleInfo>,
  options: QuantizationOptions,
): QuantizationConfig | undefined {
  const { method, skip } = options;
  if (method === 'int4' || method === 'hqq') return undefined;
  const chosen = modulesToQuantize(modules, options);
  const left = [...modules].filter((module) => module.kind === 'linear' && !chosen.includes(module));
  return {
    method,
    doubleQuantization: method !== 'int8' && (options.doubleQuantization ?? true),
    threshold: (method === 'int8' ? options.threshold : undefined) ?? 6,
    skipModules: skip && left.length > 0 ? ['lm_head', ...left.map(({ name }) => name)] : null,
  };
}

/** @throws ModelQuantizationError for a model that is quantised already */
export function refuseQuantized({ modules }: Pick<Network, 'modules'>): void {
  const already = [...modules.values()].find(isQuantized);
  if (!already) return;
  throw new ModelQuantizationError(
    `the model is quantised already (${already.name}: ${already.quantization.method}): quantise model.dequantize().`,
  );
}

/** A model's weights with those that the options select quantised, one at a time, and how each is stored. */
export async function quantizeWeights(
  network: Network,
  weights: Weights,
  options: QuantizationOptions,
): Promise<{ readonly weights: Weights; readonly quantized: ReadonlyMap<string, QuantizedFormat> }> {
  const result: Record<string, Tensor> = { ...weights };
  const quantized = new Map<string, QuantizedFormat>();
  refuseQuantized(network);
  for (const module of modulesToQuantize(network.modules.values(), options)) {
    const weight = weights[`${module.tiedTo ?? module.name}.weight`]!;
    const data = Float32Array.from(await weight.data());
    const stored = quantizeLinear({ data, shape: weight.shape }, module, options);
    quantized.set(module.name, formatOf(stored));
    for (const [name, part] of weightEntries(`${module.name}.weight`, quantizedTensors(stored))) result[name] = part;
  }
  return { weights: result, quantized };
}

/** The inverse, up to what quantising lost. */
export async function dequantizeWeights({ modules, engine }: Network, weights: Weights): Promise<Weights> {
  const result: Record<string, Tensor> = { ...weights };
  for (const module of [...modules.values()].filter(isQuantized)) {
    const parameter = `${module.name}.weight`;
    for (const part of Object.keys(weights)) if (part.startsWith(`${parameter}.`)) delete result[part];
    const weight = floatWeight(module, weights);
    await realize([weight], { engine });
    result[partKey(parameter, 'codes')] = weight;
  }
  return result;
}

/** Memory of a model's weights. */
export interface WeightStorage {
  /** Weights of the architecture, whatever they are stored as. */
  readonly parameters: number;
  /** Those of them whose weight is quantised. */
  readonly quantizedParameters: number;
  readonly bytes: number;
  readonly bitsPerParameter: number;
}

const BYTES: Readonly<Record<Tensor['dtype'], number>> = {
  float32: 4,
  int32: 4,
  float16: 2,
  bfloat16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
};

export function weightStorage({ parameters, modules }: Network, weights: Weights): WeightStorage {
  const count = (shapes: Iterable<{ readonly shape: readonly number[] }>) =>
    [...shapes].reduce((sum, { shape }) => sum + shape.reduce((product, dim) => product * dim, 1), 0);
  const total = count(parameters);
  const bytes = Object.values(weights).reduce((sum, { size, dtype }) => sum + size * BYTES[dtype], 0);
  const quantizedParameters = count([...modules.values()].filter(isQuantized).map((module) => module.quantization));
  return { parameters: total, quantizedParameters, bytes, bitsPerParameter: (8 * bytes) / total };
}
