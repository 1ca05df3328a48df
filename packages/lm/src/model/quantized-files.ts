import { float32ToBfloat16, float32ToFloat16, type Tensor } from '@posttrain/core-tensor';
import type { TensorData, TensorSource } from '@posttrain/core-tensor/io';
import {
  BITSANDBYTES_SUFFIXES,
  type FloatMatrix,
  fromAwq,
  fromBitsandbytes,
  fromBitsandbytesInt8,
  fromCompressedTensors,
  fromGptq,
  GROUPED_SUFFIXES,
  type Int4Weight,
  PACKED_SUFFIXES,
  type QuantizedWeight,
  toAwq,
  toBitsandbytes,
  toBitsandbytesInt8,
  toCompressedTensors,
  toGptq,
} from '@posttrain/core-tensor/quantization';
import type { QuantizationConfig } from '../config/quantization-config.js';
import type { ModuleInfo, Weights } from './layers.js';
import { ModelQuantizationError } from './quantize.js';
import { quantizedWeightOf } from './quantized-layer.js';

type StoredNames = ReadonlyMap<string, unknown>;

const withoutWeight = (parameter: string): string => parameter.slice(0, -'weight'.length);

/** What the codes of a quantised weight may be called in a file, beside the parameter's own name. */
export const packedName = (parameter: string): string => `${parameter}_packed`;
const PACKED = packedName('.weight');
/** The same in files of GPTQ's and AWQ's tools. */
export const groupedName = (parameter: string): string =>
  parameter.endsWith('.weight') ? `${withoutWeight(parameter)}qweight` : parameter;
const GROUPED = '.qweight';

/** Names that a quantised weight has in a file beside its own; none when the file's weight is not quantised. */
export function companionNames(parameter: string, found: StoredNames): readonly string[] {
  if (parameter.endsWith(PACKED)) {
    const layer = parameter.slice(0, -packedName('weight').length);
    return PACKED_SUFFIXES.map((suffix) => layer + suffix).filter((name) => name !== parameter && found.has(name));
  }
  if (parameter.endsWith(GROUPED)) {
    const layer = parameter.slice(0, -GROUPED.length);
    return GROUPED_SUFFIXES.map((suffix) => `${layer}.${suffix}`).filter(
      (name) => name !== parameter && found.has(name),
    );
  }
  const fourBit = BITSANDBYTES_SUFFIXES.map((suffix) => parameter + suffix).filter((name) => found.has(name));
  if (fourBit.length > 0) return fourBit;
  const module = withoutWeight(parameter);
  return found.has(`${module}SCB`) ? [`${module}SCB`, `${module}weight_format`].filter((name) => found.has(name)) : [];
}

/**
 * Reads the quantised weight that is stored as `parameter` in a folder of bitsandbytes, compressed-tensors, GPTQ or AWQ, as its config has it; a matrix [out, in]
 * of floats where the groups of its codes have no form here (GPTQ's act-order).
 */
export async function readQuantized(
  source: TensorSource,
  parameter: string,
  config: QuantizationConfig | undefined,
): Promise<QuantizedWeight | FloatMatrix> {
  if (parameter.endsWith(GROUPED)) return readGrouped(source, parameter, config);
  if (parameter.endsWith(PACKED)) return readPacked(source, parameter, config);
  const threshold = config?.method === 'int8' ? config.threshold : 0;
  const companions = companionNames(parameter, source.tensors);
  const codes = await source.read(parameter);
  const scb = companions.find((name) => name.endsWith('.SCB'));
  if (scb !== undefined) {
    return fromBitsandbytesInt8(parameter, { codes, scales: await source.read(scb) }, { threshold });
  }
  const tensors: Record<string, TensorData> = { '': codes };
  for (const name of companions) tensors[name.slice(parameter.length)] = await source.read(name);
  return fromBitsandbytes(parameter, tensors);
}

async function readGrouped(
  source: TensorSource,
  parameter: string,
  config: QuantizationConfig | undefined,
): Promise<Int4Weight | FloatMatrix> {
  const layer = parameter.slice(0, -GROUPED.length);
  if (config?.method !== 'gptq' && config?.method !== 'awq') {
    throw new ModelQuantizationError(
      `${parameter} is packed, but config.json has no quantization_config of quant_method "gptq" or "awq" that says how.`,
    );
  }
  const tensors: Record<string, TensorData> = {};
  for (const suffix of GROUPED_SUFFIXES) {
    const name = `${layer}.${suffix}`;
    if (source.tensors.has(name))
      tensors[suffix] = await source.read(name, suffix === 'scales' ? { as: 'float32' } : {});
  }
  return (config.method === 'gptq' ? fromGptq : fromAwq)(layer, tensors, config);
}

async function readPacked(
  source: TensorSource,
  parameter: string,
  config: QuantizationConfig | undefined,
): Promise<Int4Weight> {
  const layer = parameter.slice(0, -PACKED.length);
  if (config?.method !== 'int4') {
    throw new ModelQuantizationError(
      `${parameter} is packed, but config.json has no quantization_config that says how.`,
    );
  }
  const tensors: Record<string, TensorData> = {};
  for (const suffix of PACKED_SUFFIXES) {
    const name = `${layer}.${suffix}`;
    if (!source.tensors.has(name)) continue;
    // Scales have the dtype of the model.
    tensors[suffix] = await source.read(name, suffix === 'weight_scale' ? { as: 'float32' } : {});
  }
  return fromCompressedTensors(layer, tensors, config);
}

/** What int4 weights are written as: the format of compressed-tensors, one of the two of GPTQ's tools, or that of AWQ's (version `gemm`). */
export const INT4_FORMATS = ['pack-quantized', 'gptq', 'gptq_v2', 'awq'] as const;
/** What int4 weights are written as. */
export type Int4FileFormat = (typeof INT4_FORMATS)[number];

const HAS_NO_FORM: Readonly<Record<Int4FileFormat, string>> = {
  'pack-quantized': "which compressed-tensors' pack-quantized has no form for",
  gptq: 'which folders of GPTQ have no form for',
  gptq_v2: 'which folders of GPTQ have no form for',
  awq: 'which folders of AWQ have no form for',
};

/**
 * What `config.json` says of a model whose weights are stored as int4; undefined where none is.
 *
 * @param format asked for; default `pack-quantized`, where there is anything to pack
 * @param read what the folder said that the model was read from
 * @throws ModelQuantizationError where the layers have no common form in the format, or a format is asked for and none is int4
 */
export function int4ConfigOf(
  modules: Iterable<ModuleInfo>,
  format?: Int4FileFormat,
  read?: QuantizationConfig,
): QuantizationConfig | undefined {
  const all = [...modules];
  const int4 = all.flatMap(({ quantization }) => (quantization?.method === 'int4' ? [quantization] : []));
  const [first] = int4;
  const fail = (what: string, as: Int4FileFormat): never => {
    throw new ModelQuantizationError(`${what}, ${HAS_NO_FORM[as]}: save model.dequantize(), or quantise with nf4.`);
  };
  if (!first) {
    if (format === undefined) return undefined;
    throw new ModelQuantizationError(
      `int4Format is "${format}", but no layer of the model is int4: quantise with int4, gptq or awq, or leave it out.`,
    );
  }
  const { blockSize, symmetric } = first;
  const as = format ?? 'pack-quantized';
  const other = all.find(({ quantization }) => quantization && quantization.method !== 'int4');
  if (other) fail(`${other.name} is stored as ${other.quantization!.method} beside int4`, as);
  const conv = all.find(({ quantization, transposed }) => quantization && transposed);
  if (conv) fail(`${conv.name} is stored [in, out] (GPT-2's Conv1D)`, as);
  const left = all.filter(({ kind, quantization }) => kind !== 'embedding' && !quantization);
  if (as === 'pack-quantized') {
    if (int4.some((one) => one.blockSize !== blockSize || one.symmetric !== symmetric)) {
      fail('int4 layers differ in blockSize or symmetric', as);
    }
    return { method: 'int4', blockSize, symmetric, skipModules: left.map(({ name }) => name) };
  }
  const from = read && 'groupSize' in read ? read : undefined;
  // Groups that are none of our blocks (whole rows, say) are held as several.
  const groupSize = from?.groupSize ?? blockSize;
  if (!from && int4.some((one) => one.blockSize !== blockSize)) fail('int4 layers differ in blockSize', as);
  const head = all.some(({ kind, quantization }) => kind === 'head' && quantization);
  const shared = { groupSize, actOrder: false, head };
  if (as === 'awq') {
    if (head) fail('the output layer is int4', as);
    const skipModules = left.some(({ kind }) => kind !== 'head')
      ? left.map(({ name }) => name)
      : from?.method === 'awq'
        ? from.skipModules
        : null;
    return { method: 'awq', ...shared, symmetric: false, zeroOffset: 0, skipModules };
  }
  const float = left.find(({ kind }) => kind === 'linear');
  if (float) fail(`${float.name} is stored as floats beside int4`, as);
  const isSymmetric = (from?.symmetric ?? true) && int4.every((one) => one.symmetric);
  return { method: 'gptq', ...shared, symmetric: isSymmetric, zeroOffset: as === 'gptq' ? 1 : 0, skipModules: null };
}

/** A tensor of a file, and what the file has its numbers as. */
export type StoredTensor = TensorData & { readonly storedAs?: 'I64' };

/**
 * The tensors that transformers expects of a quantised layer, by their full names.
 *
 * @param described what `config.json` will say, of `int4ConfigOf`
 * @throws QuantizationError where there is no such form
 */
export async function quantizedFileTensors(
  module: ModuleInfo & Required<Pick<ModuleInfo, 'quantization'>>,
  weights: Weights,
  dtype: 'float32' | 'float16' | 'bfloat16',
  described: QuantizationConfig | undefined,
): Promise<Readonly<Record<string, StoredTensor>>> {
  const weight = await hostWeight(quantizedWeightOf(module, weights));
  const parameter = `${module.name}.weight`;
  if (weight.method === 'int4' && (described?.method === 'gptq' || described?.method === 'awq')) {
    const parts = (described.method === 'gptq' ? toGptq : toAwq)(module.name, weight, described);
    const stored = Object.entries(parts).map(([suffix, part]): [string, StoredTensor] => [
      `${module.name}.${suffix}`,
      suffix === 'scales' ? asDType(part, dtype) : part,
    ]);
    return Object.fromEntries(stored);
  }
  if (weight.method === 'int4') {
    const packed = Object.entries(toCompressedTensors(module.name, weight)).map(([suffix, tensor]) => {
      const wide: StoredTensor = suffix === 'weight_shape' ? { ...tensor, storedAs: 'I64' } : tensor;
      return [`${module.name}.${suffix}`, wide];
    });
    return Object.fromEntries(packed);
  }
  if (weight.method === 'int8') {
    const { codes, scales } = toBitsandbytesInt8(weight);
    const rowMajor: TensorData = { dtype: 'uint8', shape: [], data: Uint8Array.of(0) };
    return { [parameter]: codes, [`${module.name}.SCB`]: scales, [`${module.name}.weight_format`]: rowMajor };
  }
  const tensors = Object.entries(toBitsandbytes(weight, dtype));
  return Object.fromEntries(tensors.map(([suffix, tensor]) => [parameter + suffix, tensor]));
}

/** float32 numbers, as a file of this dtype has them. */
function asDType({ shape, data }: TensorData, dtype: 'float32' | 'float16' | 'bfloat16'): TensorData {
  const numbers = data as Float32Array;
  if (dtype === 'float32') return { dtype, shape, data: numbers };
  return { dtype, shape, data: (dtype === 'float16' ? float32ToFloat16 : float32ToBfloat16)(numbers) };
}

async function hostWeight(weight: QuantizedWeight<Tensor>): Promise<QuantizedWeight> {
  const parts: Record<string, TensorData> = {};
  for (const [name, part] of Object.entries(weight.parts) as [string, Tensor][]) {
    const read = await part.data();
    // The reference engine holds float32 tensors in double precision.
    const data = read instanceof Float64Array ? Float32Array.from(read) : read;
    parts[name] = { dtype: part.dtype, shape: part.shape, data } as TensorData;
  }
  return { ...weight, parts } as unknown as QuantizedWeight;
}
