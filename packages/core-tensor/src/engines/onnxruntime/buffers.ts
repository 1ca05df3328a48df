import { arrayType, type DType, type TypedArray } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import type { TensorSpec } from '../../graph/node.js';
import { bfloat16ToFloat32, float32ToBfloat16 } from '../../half-precision.js';
import { sizeOf } from '../../shape.js';
import type { EngineBuffer } from '../engine.js';
import { onnxTypeOf } from './lowering.js';
import type { OrtEnvironment } from './native/environment.js';
import type { Pointer } from './native/library.js';
import { onnxTypes } from './proto.js';

/** What ONNX Runtime reads and writes: bfloat16 is held as rounded float32, everything else as on the host. */
export type DeviceArray = Float32Array | Uint16Array | Int32Array | Int8Array | Uint8Array;

export class OnnxBuffer implements EngineBuffer {
  /**
   * Whether nobody but the engine can see this memory. Memory that came from the caller, or was shown to it, is never
   * written over: a donation copies it once.
   */
  exclusive: boolean;
  private native: Pointer | undefined;

  constructor(
    readonly spec: TensorSpec,
    readonly data: DeviceArray,
    exclusive: boolean,
  ) {
    this.exclusive = exclusive;
  }

  static allocate(spec: TensorSpec): OnnxBuffer {
    return new OnnxBuffer(spec, allocateUninitialized(spec.dtype, sizeOf(spec.shape)), true);
  }

  static from(data: TypedArray, spec: TensorSpec): OnnxBuffer {
    if (spec.dtype === 'bfloat16') {
      return new OnnxBuffer(spec, bfloat16ToFloat32(data as Uint16Array), true);
    }
    // The reference engine's floats are double precision.
    if (data instanceof Float64Array) return new OnnxBuffer(spec, Float32Array.from(data), true);
    return new OnnxBuffer(spec, data, false);
  }

  read(): TypedArray {
    if (this.spec.dtype === 'bfloat16') return float32ToBfloat16(this.data as Float32Array);
    this.exclusive = false;
    return this.data;
  }

  /** ONNX Runtime's handle of this memory, which must stay reachable while the handle is used. */
  value(environment: OrtEnvironment): Pointer {
    this.native ??= createValue(this, environment);
    return this.native;
  }

  copy(): OnnxBuffer {
    const result = OnnxBuffer.allocate(this.spec);
    result.data.set(this.data);
    return result;
  }
}

export function onnxBuffer(buffer: EngineBuffer): OnnxBuffer {
  if (!(buffer instanceof OnnxBuffer)) throw new EngineError('onnxruntime', 'got a buffer of another engine');
  return buffer;
}

/** Every output is written in full, so its memory need not be cleared first. */
function allocateUninitialized(dtype: DType, size: number): DeviceArray {
  const type = arrayType(dtype === 'bfloat16' ? 'float32' : dtype);
  return new type(Buffer.allocUnsafeSlow(size * type.BYTES_PER_ELEMENT).buffer);
}

const released = new FinalizationRegistry<() => void>((release) => release());

function createValue(buffer: OnnxBuffer, { api, hostMemory }: OrtEnvironment): Pointer {
  const { data, spec } = buffer;
  const shape = BigInt64Array.from(spec.shape, BigInt);
  const type = onnxTypes[onnxTypeOf(spec.dtype)];
  const value = api.make(
    'createTensorWithDataAsOrtValue',
    hostMemory,
    data,
    data.byteLength,
    shape,
    shape.length,
    type,
  );
  released.register(buffer, () => api.releaseValue(value));
  return value;
}
