import { type DType, isFloat, type TypedArray } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import type { TensorSpec } from '../../graph/node.js';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../../half-precision.js';
import { sizeOf } from '../../shape.js';
import type { EngineBuffer } from '../engine.js';
import { LiveMemory } from '../live-memory.js';
import { asFloat32, type StorageArray, type TfjsKernelTensor } from './tfjs.js';

export class TfjsBuffer implements EngineBuffer {
  constructor(
    readonly spec: TensorSpec,
    readonly tensor: TfjsKernelTensor,
  ) {}
}

/** The engine's own buffer, or an `EngineError` where the buffer is another engine's. */
export function tfjsBuffer(buffer: EngineBuffer): TfjsBuffer {
  if (!(buffer instanceof TfjsBuffer)) throw new EngineError('tfjs', 'got a buffer of another engine');
  return buffer;
}

const bytesOf = ({ shape, dtype }: TfjsKernelTensor): number => sizeOf(shape) * (dtype === 'bool' ? 1 : 4);

/** The tensors that callers hold: given back by `take`, or when the caller has dropped the buffer. */
export class HeldTensors {
  readonly #memory = new LiveMemory();
  readonly #dropped = new FinalizationRegistry<TfjsKernelTensor>((tensor) => {
    this.#memory.remove(bytesOf(tensor));
    tensor.dispose();
  });

  hold(spec: TensorSpec, tensor: TfjsKernelTensor): TfjsBuffer {
    const buffer = new TfjsBuffer(spec, tensor);
    this.#dropped.register(buffer, tensor, buffer);
    this.#memory.add(bytesOf(tensor));
    return buffer;
  }

  /** Transfers ownership: the tensor of a buffer that the caller never uses again; the caller of this disposes it. */
  take(buffer: TfjsBuffer): TfjsKernelTensor {
    if (this.#dropped.unregister(buffer)) this.#memory.remove(bytesOf(buffer.tensor));
    return buffer.tensor;
  }

  /** Gives back what dropped tensors held, when there may be much of it. */
  makeRoom(): Promise<void> {
    return this.#memory.makeRoom();
  }
}

/** The elements of a host array as they are held: may be the same array. */
export function toStorage(data: TypedArray, dtype: DType): StorageArray {
  if (dtype === 'float16') return float16ToFloat32(data as Uint16Array);
  if (dtype === 'bfloat16') return bfloat16ToFloat32(data as Uint16Array);
  // Tensors of the reference engine hold float64.
  if (isFloat(dtype)) return asFloat32(data);
  if (dtype === 'bool') return data as Uint8Array;
  return data instanceof Int32Array ? data : Int32Array.from(data);
}

/** The elements as a host array of the dtype: may be the same array. */
export function fromStorage(values: TypedArray, dtype: DType): TypedArray {
  if (dtype === 'float32') return asFloat32(values);
  if (dtype === 'float16') return float32ToFloat16(asFloat32(values));
  if (dtype === 'bfloat16') return float32ToBfloat16(asFloat32(values));
  if (dtype === 'int8') return Int8Array.from(values);
  return dtype === 'uint8' ? Uint8Array.from(values) : values;
}
