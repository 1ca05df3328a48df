import { bytesPerElement, type DType, fromBfloat16Bits, type TypedArray, toBfloat16Bits } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import type { TensorSpec } from '../../graph/node.js';
import { sizeOf } from '../../shape.js';
import type { EngineBuffer } from '../engine.js';

/** What ONNX Runtime reads and writes: bfloat16 is held as rounded float32, everything else as on the host. */
export type DeviceArray = Float32Array | Uint16Array | Int32Array | Int8Array | Uint8Array;

export class OnnxBuffer implements EngineBuffer {
  /**
   * Whether nobody but the engine can see this memory. Memory that came from the caller, or was shown to it, is never
   * written over: a donation copies it once.
   */
  exclusive: boolean;
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
      return new OnnxBuffer(spec, Float32Array.from(data, fromBfloat16Bits), true);
    }
    // The reference engine's floats are double precision.
    if (data instanceof Float64Array) return new OnnxBuffer(spec, Float32Array.from(data), true);
    return new OnnxBuffer(spec, data, false);
  }

  read(): TypedArray {
    if (this.spec.dtype === 'bfloat16') return Uint16Array.from(this.data, toBfloat16Bits);
    this.exclusive = false;
    return this.data;
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
  const bytes = size * (dtype === 'bfloat16' ? 4 : bytesPerElement(dtype));
  const { buffer } = Buffer.allocUnsafeSlow(bytes);
  switch (dtype) {
    case 'float32':
    case 'bfloat16':
      return new Float32Array(buffer);
    case 'float16':
      return new Uint16Array(buffer);
    case 'int32':
      return new Int32Array(buffer);
    case 'int8':
      return new Int8Array(buffer);
    case 'uint8':
    case 'bool':
      return new Uint8Array(buffer);
  }
}
