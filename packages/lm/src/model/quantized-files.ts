import type { Tensor } from '@posttrain/core-tensor';
import type { TensorData, TensorSource } from '@posttrain/core-tensor/io';
import {
  BITSANDBYTES_SUFFIXES,
  type FileTensors,
  fromBitsandbytes,
  fromBitsandbytesInt8,
  type QuantizedWeight,
  toBitsandbytes,
  toBitsandbytesInt8,
} from '@posttrain/core-tensor/quantization';
import type { ModuleInfo, Weights } from './layers.js';
import { ModelQuantizationError } from './quantize.js';
import { quantizedWeightOf } from './quantized-layer.js';

type StoredNames = ReadonlyMap<string, unknown>;

const withoutWeight = (parameter: string): string => parameter.slice(0, -'weight'.length);

/** Names that a quantised weight has in a file beside its own; none when the file's weight is not quantised. */
export function companionNames(parameter: string, found: StoredNames): readonly string[] {
  const fourBit = BITSANDBYTES_SUFFIXES.map((suffix) => parameter + suffix).filter((name) => found.has(name));
  if (fourBit.length > 0) return fourBit;
  const module = withoutWeight(parameter);
  return found.has(`${module}SCB`) ? [`${module}SCB`, `${module}weight_format`].filter((name) => found.has(name)) : [];
}

/** Reads the quantised weight `parameter` of a bitsandbytes folder. `threshold` is the folder's, of LLM.int8(). */
export async function readQuantized(
  source: TensorSource,
  parameter: string,
  threshold: number,
): Promise<QuantizedWeight> {
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

/** The tensors that transformers expects of a quantised layer, by their full names. */
export async function quantizedFileTensors(
  module: ModuleInfo & Required<Pick<ModuleInfo, 'quantization'>>,
  weights: Weights,
  dtype: 'float32' | 'float16' | 'bfloat16',
): Promise<FileTensors> {
  const weight = await hostWeight(quantizedWeightOf(module, weights));
  const parameter = `${module.name}.weight`;
  if (weight.method === 'int4') {
    throw new ModelQuantizationError(
      `${module.name} is stored as int4, which Hugging Face folders have no form for: save model.dequantize(), or quantise with nf4.`,
    );
  }
  if (weight.method === 'int8') {
    const { codes, scales } = toBitsandbytesInt8(weight);
    const rowMajor: TensorData = { dtype: 'uint8', shape: [], data: Uint8Array.of(0) };
    return { [parameter]: codes, [`${module.name}.SCB`]: scales, [`${module.name}.weight_format`]: rowMajor };
  }
  const tensors = Object.entries(toBitsandbytes(weight, dtype));
  return Object.fromEntries(tensors.map(([suffix, tensor]) => [parameter + suffix, tensor]));
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
