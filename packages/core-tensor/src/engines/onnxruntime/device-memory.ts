import type { TypedArray } from '../../dtype.js';
import type { TensorSpec } from '../../graph/node.js';
import { sizeOf } from '../../shape.js';
import type { EngineBuffer } from '../engine.js';
import { LiveMemory } from '../live-memory.js';
import { allocateDeviceArray, fromDeviceArray, hostValue, toDeviceArray } from './buffers.js';
import { type Memory, OnnxBuffer } from './memory.js';
import type { OrtEnvironment } from './native/environment.js';
import type { Pointer } from './native/library.js';
import { onnxTypeOf } from './onnx-values.js';
import { onnxTypes } from './proto.js';

const DEVICE_ALLOCATOR = 0;
const DEFAULT_MEMORY = 0;

const BYTES = { float32: 4, float16: 2, int32: 4, int8: 1, uint8: 1, bool: 1 } as const;

/** Memory of the device, owned by this object: freed by a finaliser when it is unreachable. */
interface Block {
  /** 0n: no elements, no memory. */
  value: Pointer;
  readonly bytes: number;
}

class DeviceBuffer extends OnnxBuffer {
  exclusive = true;

  constructor(
    spec: TensorSpec,
    readonly block: Block,
  ) {
    super(spec);
  }

  get length(): number {
    return sizeOf(this.spec.shape);
  }

  value(): Pointer {
    return this.block.value;
  }

  successor(spec: TensorSpec): DeviceBuffer {
    return new DeviceBuffer(spec, this.block);
  }
}

/** What is alive in a device's memory. */
export interface DeviceMemoryUse {
  readonly buffers: number;
  readonly bytes: number;
}

/** The memory of a GPU. Tensors stay there; bytes cross the bus in `upload` and `read` only. */
export class DeviceMemory implements Memory {
  readonly #memory = new LiveMemory();
  #running = 0;
  readonly #waiting: Pointer[] = [];
  readonly #dropped = new FinalizationRegistry<{ value: Pointer; bytes: number }>((block) => this.#release(block));
  readonly #environment: OrtEnvironment;
  readonly #allocator: Pointer;

  /** `allocator` is ONNX Runtime's, of a session that lives as long as this. */
  constructor(environment: OrtEnvironment, allocator: Pointer) {
    this.#environment = environment;
    this.#allocator = allocator;
  }

  /** Makes the allocator that a session of the device has for memory of this name. */
  static over(environment: OrtEnvironment, session: Pointer, name: string): DeviceMemory {
    const { api } = environment;
    const info = api.make('createMemoryInfo', name, DEVICE_ALLOCATOR, 0, DEFAULT_MEMORY);
    try {
      return new DeviceMemory(environment, api.make('createAllocator', session, info));
    } finally {
      api.releaseMemoryInfo(info);
    }
  }

  get live(): DeviceMemoryUse {
    return this.#memory.use;
  }

  upload(data: TypedArray, spec: TensorSpec): DeviceBuffer {
    const buffer = this.allocate(spec);
    if (buffer.length === 0) return buffer;
    const host = toDeviceArray(data, spec);
    const { api } = this.#environment;
    const source = hostValue(this.#environment, host, spec);
    try {
      this.#copyNow(source, buffer.value());
    } finally {
      api.releaseValue(source);
    }
    return buffer;
  }

  async read(buffer: DeviceBuffer): Promise<TypedArray> {
    const data = allocateDeviceArray(buffer.spec);
    if (data.length > 0) {
      const { api, env } = this.#environment;
      const target = hostValue(this.#environment, data, buffer.spec);
      const [from, to] = [BigUint64Array.of(buffer.value()), BigUint64Array.of(target)];
      try {
        await this.during(() => api.later('copyTensors', env, from, to, null, 1));
      } finally {
        api.releaseValue(target);
      }
    }
    return fromDeviceArray(data, buffer.spec);
  }

  allocate(spec: TensorSpec): DeviceBuffer {
    const { api } = this.#environment;
    const type = onnxTypeOf(spec.dtype);
    const bytes = sizeOf(spec.shape) * BYTES[type];
    if (bytes === 0) return new DeviceBuffer(spec, { value: 0n, bytes });
    const shape = BigInt64Array.from(spec.shape, BigInt);
    const value = api.make('createTensorAsOrtValue', this.#allocator, shape, shape.length, onnxTypes[type]);
    const block = { value, bytes };
    this.#memory.add(bytes);
    this.#dropped.register(block, { value, bytes }, block);
    return new DeviceBuffer(spec, block);
  }

  copy(buffer: DeviceBuffer): DeviceBuffer {
    const result = this.allocate(buffer.spec);
    if (buffer.length > 0) this.#copyNow(buffer.value(), result.value());
    return result;
  }

  free(buffer: EngineBuffer): void {
    if (!(buffer instanceof DeviceBuffer) || buffer.block.value === 0n) return;
    const { block } = buffer;
    this.#dropped.unregister(block);
    this.#release(block);
    block.value = 0n;
  }

  /** The provider's allocator knows one thread at a time, so frees are deferred while work runs. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
      if (this.#running === 0) for (const value of this.#waiting.splice(0)) this.#environment.api.releaseValue(value);
    }
  }

  /** Runs finalisers of dropped tensors, when they may hold much. */
  makeRoom(): Promise<void> {
    return this.#memory.makeRoom();
  }

  #copyNow(from: Pointer, to: Pointer): void {
    const { api, env } = this.#environment;
    api.copyTensors(env, BigUint64Array.of(from), BigUint64Array.of(to), null, 1);
  }

  #release({ value, bytes }: Block): void {
    this.#memory.remove(bytes);
    if (this.#running > 0) this.#waiting.push(value);
    else this.#environment.api.releaseValue(value);
  }
}
