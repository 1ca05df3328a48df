import { arrayType, type TypedArray } from '../../dtype.js';
import { sameSpec, type TensorSpec } from '../../graph/node.js';
import { bfloat16ToFloat32, float32ToBfloat16 } from '../../half-precision.js';
import { sizeOf } from '../../shape.js';
import { type Memory, OnnxBuffer } from './memory.js';
import type { OrtEnvironment } from './native/environment.js';
import type { Pointer } from './native/library.js';
import { onnxTypeOf } from './onnx-values.js';
import { onnxTypes } from './proto.js';

/** What ONNX Runtime reads and writes: bfloat16 is held as rounded float32, everything else as on the host. */
export type DeviceArray = Float32Array | Uint16Array | Int32Array | Int8Array | Uint8Array;

/** The array of the host as ONNX Runtime reads it; the same memory where nothing has to be converted. */
export function toDeviceArray(data: TypedArray, { dtype }: TensorSpec): DeviceArray {
  if (dtype === 'bfloat16') return bfloat16ToFloat32(data as Uint16Array);
  // The reference engine's floats are double precision.
  return data instanceof Float64Array ? Float32Array.from(data) : data;
}

export const fromDeviceArray = (data: DeviceArray, { dtype }: TensorSpec): TypedArray =>
  dtype === 'bfloat16' ? float32ToBfloat16(data as Float32Array) : data;

/** Every output is written in full, so its memory need not be cleared first. */
export function allocateDeviceArray({ dtype, shape }: TensorSpec): DeviceArray {
  const type = arrayType(dtype === 'bfloat16' ? 'float32' : dtype);
  return new type(Buffer.allocUnsafeSlow(sizeOf(shape) * type.BYTES_PER_ELEMENT).buffer);
}

/** ONNX Runtime's handle of host memory. */
export function hostValue({ api, hostMemory }: OrtEnvironment, data: DeviceArray, spec: TensorSpec): Pointer {
  const shape = BigInt64Array.from(spec.shape, BigInt);
  const type = onnxTypes[onnxTypeOf(spec.dtype)];
  return api.make('createTensorWithDataAsOrtValue', hostMemory, data, data.byteLength, shape, shape.length, type);
}

const released = new FinalizationRegistry<() => void>((release) => release());

/** ONNX Runtime's handle of some memory, made when it is first used. */
interface Handle {
  pointer?: Pointer;
}

class HostBuffer extends OnnxBuffer {
  readonly length: number;
  readonly #environment: OrtEnvironment;
  readonly #handle: Handle;

  constructor(
    spec: TensorSpec,
    environment: OrtEnvironment,
    readonly block: DeviceArray,
    public exclusive: boolean,
    handle: Handle = {},
  ) {
    super(spec);
    this.#environment = environment;
    this.#handle = handle;
    this.length = block.length;
  }

  value(): Pointer {
    const handle = this.#handle;
    if (handle.pointer === undefined) {
      const { api } = this.#environment;
      const pointer = hostValue(this.#environment, this.block, this.spec);
      released.register(handle, () => api.releaseValue(pointer));
      handle.pointer = pointer;
    }
    return handle.pointer;
  }

  successor(spec: TensorSpec): HostBuffer {
    return new HostBuffer(spec, this.#environment, this.block, true, sameSpec(spec, this.spec) ? this.#handle : {});
  }
}

/** The host's memory, which uploads and reads do not copy and the garbage collector gives back. */
export class HostMemory implements Memory {
  /** The handles of arrays of the host: made once for an array that a tensor is made over at every step. */
  readonly #uploaded = new WeakMap<DeviceArray, { readonly spec: TensorSpec; readonly handle: Handle }>();
  readonly #environment: OrtEnvironment;

  constructor(environment: OrtEnvironment) {
    this.#environment = environment;
  }

  upload(data: TypedArray, spec: TensorSpec): HostBuffer {
    const block = toDeviceArray(data, spec);
    if (block !== data) return new HostBuffer(spec, this.#environment, block, true);
    const known = this.#uploaded.get(block);
    const handle = known && sameSpec(known.spec, spec) ? known.handle : {};
    if (handle !== known?.handle) this.#uploaded.set(block, { spec, handle });
    return new HostBuffer(spec, this.#environment, block, false, handle);
  }

  async read(buffer: HostBuffer): Promise<TypedArray> {
    const data = fromDeviceArray(buffer.block, buffer.spec);
    if (data === buffer.block) buffer.exclusive = false;
    return data;
  }

  allocate(spec: TensorSpec): HostBuffer {
    return new HostBuffer(spec, this.#environment, allocateDeviceArray(spec), true);
  }

  copy(buffer: HostBuffer): HostBuffer {
    const result = this.allocate(buffer.spec);
    result.block.set(buffer.block);
    return result;
  }

  free(): void {}

  makeRoom(): void {}

  during<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }
}
