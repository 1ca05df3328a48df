import type { TypedArray } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import type { TensorSpec } from '../../graph/node.js';
import type { EngineBuffer } from '../engine.js';
import type { Pointer } from './native/library.js';

/** A tensor in the memory of an onnxruntime engine. */
export abstract class OnnxBuffer implements EngineBuffer {
  /**
   * Exclusive ownership: memory that came from the caller, or was handed out to it, is aliased and never overwritten; a
   * donation of it is copy-on-write.
   */
  abstract exclusive: boolean;
  /** The memory itself: two buffers over one block are one memory. */
  abstract readonly block: object;
  /** Number of elements that the block holds. */
  abstract readonly length: number;

  constructor(readonly spec: TensorSpec) {}

  /** ONNX Runtime's handle of this memory, which must stay reachable while the handle is used. */
  abstract value(): Pointer;
  /** An alias: another buffer over the same memory, which takes its place. */
  abstract successor(spec: TensorSpec): OnnxBuffer;
}

/** Where an engine keeps its tensors. */
export interface Memory {
  upload(data: TypedArray, spec: TensorSpec): OnnxBuffer;
  read(buffer: OnnxBuffer): Promise<TypedArray>;
  /** Memory with arbitrary contents. */
  allocate(spec: TensorSpec): OnnxBuffer;
  copy(buffer: OnnxBuffer): OnnxBuffer;
  /** Frees memory; idempotent. */
  free(buffer: EngineBuffer): void;
  /** Collection before an allocation: frees what is unreachable. */
  makeRoom(): Promise<void> | void;
  /** Runs work on another thread that uses the memory, which is not given back meanwhile. */
  during<T>(work: () => Promise<T>): Promise<T>;
}

export function onnxBuffer(buffer: EngineBuffer): OnnxBuffer {
  if (!(buffer instanceof OnnxBuffer)) throw new EngineError('onnxruntime', 'got a buffer of another engine');
  return buffer;
}
