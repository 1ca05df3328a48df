import type { ReadTensorOptions, TensorData, TensorInfo, TensorSource } from '@posttrain/core-tensor/io';
import { fromFp8, fromMxfp4, fromNvfp4 } from '@posttrain/core-tensor/quantization';
import type { ModelConfig } from '../config/index.js';
import type { SmallFloatConfig } from '../config/quantization-config.js';
import { ModelQuantizationError } from './quantize.js';
import type { OpenModel } from './weights.js';

/** Of activations, whose rounding is not done here; and what repeats the shape. */
const LEFT_OUT = ['.input_scale', '.activation_scale', '.input_global_scale', '.weight_shape'];

/** Numbers of MXFP4 that share a scale. */
const MXFP4_BLOCK = 32;

/** A weight in small floats: the tensors that it is stored as, by what they are. */
interface Stored {
  readonly kind: 'fp8' | 'mxfp4' | 'nvfp4' | 'experts';
  readonly codes: string;
  readonly scales: string;
  /** NVFP4's number of the whole weight: multiplied (ModelOpt) or divided by. */
  readonly overall?: { readonly name: string; readonly isDivisor: boolean };
}

/**
 * A folder whose linear layers are in small floats with scales, as one of float32 weights: FP8 (`fp8`, `fbgemm_fp8`, `float-quantized`),
 * MXFP4 (`mxfp4-pack-quantized`, and gpt-oss's fused experts, which are stored [experts, out, in] and given [experts, in, out] as transformers
 * has them) and NVFP4 (`nvfp4-pack-quantized`, `modelopt`). One weight at a time is held beside its codes.
 */
export class SmallFloatSource implements TensorSource {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #inner: TensorSource;
  readonly #config: SmallFloatConfig;
  readonly #stored = new Map<string, Stored>();

  /** @throws ModelQuantizationError for codes without scales, and where nothing is stored as the config says */
  constructor(inner: TensorSource, config: SmallFloatConfig) {
    this.path = inner.path;
    this.#inner = inner;
    this.#config = config;
    const tensors = new Map<string, TensorInfo>();
    const parts = new Set<string>();
    for (const info of inner.tensors.values()) {
      const found = this.#storedAs(info);
      if (!found) continue;
      const [name, stored] = found;
      this.#stored.set(name, stored);
      for (const part of [stored.codes, stored.scales, stored.overall?.name]) if (part) parts.add(part);
      tensors.set(name, { ...info, name, dtype: 'F32', shape: floatShape(stored.kind, info.shape) });
    }
    if (this.#stored.size === 0) {
      throw new ModelQuantizationError(`${this.path}: config.json says ${config.method}, but no weight is stored so.`);
    }
    for (const [name, info] of inner.tensors) {
      if (parts.has(name) || LEFT_OUT.some((suffix) => name.endsWith(suffix))) continue;
      tensors.set(name, info);
    }
    this.tensors = tensors;
  }

  /** Weights in small floats as new float32, whatever else the options say. Of fused experts those within the range are read, and no others. */
  async read(name: string, options: ReadTensorOptions = {}): Promise<TensorData> {
    const stored = this.#stored.get(name);
    if (!stored) return this.#inner.read(name, options);
    const { shape } = this.tensors.get(name)!;
    const { range } = options;
    const [from, to] = range ?? [0, shape.reduce((a, b) => a * b, 1)];
    const data =
      stored.kind === 'experts'
        ? await this.#expertsIn(name, stored, [from, to])
        : (await this.#whole(name, stored, shape)).subarray(from, to);
    return { dtype: 'float32', shape: range ? [data.length] : shape, data };
  }

  /** Elements [from, to) of fused experts. */
  async #expertsIn(name: string, { codes, scales }: Stored, [from, to]: readonly [number, number]) {
    const [, inputs, outputs] = this.tensors.get(name)!.shape as [number, number, number];
    const each = inputs * outputs;
    const [first, last] = [Math.floor(from / each), Math.ceil(to / each)];
    const part = async (tensor: string, numbersOfOne: number) => {
      const range = [(first * each) / numbersOfOne, (last * each) / numbersOfOne] as const;
      const { dtype } = this.#inner.tensors.get(tensor)!;
      return this.#inner.read(tensor, { range, ...(dtype === 'U8' ? {} : { as: 'float32' }) });
    };
    const packed = (await part(codes, 2)).data as Uint8Array;
    const data = fromMxfp4(name, packed, exponentsOf(await part(scales, MXFP4_BLOCK)));
    return transposedEach(data, [last - first, inputs, outputs]).subarray(from - first * each, to - first * each);
  }

  async #whole(name: string, stored: Stored, shape: readonly number[]): Promise<Float32Array> {
    const scalesInfo = this.#inner.tensors.get(stored.scales)!;
    const scales = await this.#inner.read(stored.scales, scalesInfo.dtype === 'U8' ? {} : { as: 'float32' });
    if (stored.kind === 'fp8') {
      const codes = await this.#inner.read(stored.codes, { as: 'float32' });
      const floats = { shape, data: codes.data as Float32Array };
      const format = { block: this.#config.block };
      return fromFp8(name, floats, { ...scales, data: numbersOf(scales) }, format).data;
    }
    const codes = (await this.#inner.read(stored.codes)).data as Uint8Array;
    if (stored.kind === 'nvfp4') {
      const { name: overallName, isDivisor } = stored.overall!;
      const [overall] = numbersOf(await this.#inner.read(overallName, { as: 'float32' }));
      const by = isDivisor ? { by: overall! } : { times: overall! };
      return fromNvfp4(name, codes, numbersOf(scales), by);
    }
    return fromMxfp4(name, codes, exponentsOf(scales));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /** The weight that a tensor has the codes of, by its name; undefined for every other tensor. */
  #storedAs({ name, dtype }: TensorInfo): readonly [name: string, stored: Stored] | undefined {
    const { tensors } = this.#inner;
    const dtypeOf = (other: string) => tensors.get(other)?.dtype;
    if (dtype === 'U8' && name.endsWith('_blocks')) {
      const weight = name.slice(0, -'_blocks'.length);
      return [weight, { kind: 'experts', codes: name, scales: this.#partOf(weight, [`${weight}_scales`]) }];
    }
    const layer = name.replace(/weight(_packed)?$/, '');
    const weight = `${layer}weight`;
    if (layer === name) return undefined;
    const scale = `${layer}weight_scale`;
    if (dtype === 'F8_E4M3' && name === weight) {
      return [weight, { kind: 'fp8', codes: name, scales: this.#partOf(weight, [`${weight}_scale_inv`, scale]) }];
    }
    if (dtype !== 'U8') return undefined;
    if (dtypeOf(scale) === 'U8' || dtypeOf(scale) === 'F8_E8M0')
      return [weight, { kind: 'mxfp4', codes: name, scales: scale }];
    const isDivisor = name !== weight;
    const overall = this.#partOf(weight, [isDivisor ? `${layer}weight_global_scale` : `${layer}weight_scale_2`]);
    const scales = this.#partOf(weight, [scale]);
    return [weight, { kind: 'nvfp4', codes: name, scales, overall: { name: overall, isDivisor } }];
  }

  #partOf(weight: string, names: readonly string[]): string {
    const found = names.find((name) => this.#inner.tensors.has(name));
    if (found !== undefined) return found;
    throw new ModelQuantizationError(
      `${this.path}: ${weight} is stored as codes, but ${names.join(' or ')} is missing.`,
    );
  }
}

/** The exponent (E8M0) of NaN. */
const NO_POWER = 255;
/** Scales; bytes are exponents (E8M0). */
const numbersOf = ({ data }: TensorData): Float32Array =>
  data instanceof Float32Array
    ? data
    : Float32Array.from(data as Uint8Array, (byte) => (byte === NO_POWER ? Number.NaN : 2 ** (byte - 127)));
const exponentsOf = ({ data }: TensorData): Uint8Array =>
  data instanceof Uint8Array
    ? data
    : Uint8Array.from(data as Float32Array, (power) => (Number.isNaN(power) ? NO_POWER : Math.log2(power) + 127));

function floatShape(kind: Stored['kind'], shape: readonly number[]): readonly number[] {
  if (kind === 'fp8') return shape;
  if (kind === 'experts') {
    const [experts, out, blocks, bytes] = shape as [number, number, number, number];
    return [experts, 2 * blocks * bytes, out];
  }
  return [...shape.slice(0, -1), 2 * shape.at(-1)!];
}

/** Every [out, in] of an array, to a `shape` of [experts, in, out]. */
function transposedEach(data: Float32Array, [experts, inputs, outputs]: readonly number[]): Float32Array {
  const out = new Float32Array(data.length);
  const size = inputs! * outputs!;
  for (let expert = 0; expert < experts!; expert++) {
    for (let row = 0; row < outputs!; row++) {
      for (let column = 0; column < inputs!; column++) {
        out[expert * size + column * outputs! + row] = data[expert * size + row * inputs! + column]!;
      }
    }
  }
  return out;
}

/** A model in small floats with scales (FP8, MXFP4, NVFP4) as one of floats. */
export function widened({ config, source }: OpenModel): OpenModel {
  const { quantization, ...floats } = config;
  if (!quantization || !('json' in quantization)) return { config, source };
  return { config: floats as ModelConfig, source: new SmallFloatSource(source, quantization) };
}
