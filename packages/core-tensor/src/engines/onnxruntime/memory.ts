import type { TypedArray } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import type { TensorSpec } from '../../graph/node.js';
import type { EngineBuffer } from '../engine.js';
import type { Pointer } from './native/library.js';

/** A tensor in the memory of an onnxruntime engine. */
export abstract class OnnxBuffer implements EngineBuffer {
  /**
   * Whether nobody but the engine can see this memory. Memory that came from the caller, or was shown to it, is never
   * written over: a donation copies it once.
   */
  abstract exclusive: boolean;
  /** The memory itself: two buffers over one block are one memory. */
  abstract readonly block: object;
  /** Number of elements that the block holds. */
  abstract readonly length: number;

  constructor(readonly spec: TensorSpec) {}

  /** ONNX Runtime's handle of this memory, which must stay reachable while the handle is used. */
  abstract value(): Pointer;
  /** Another buffer over the same memory, which takes its place. */
  abstract successor(spec: TensorSpec): OnnxBuffer;
}

/** Where an engine keeps its tensors. */
export interface Memory {
  upload(data: TypedArray, spec: TensorSpec): OnnxBuffer;
  read(buffer: OnnxBuffer): Promise<TypedArray>;
  /** Memory with arbitrary contents. */
  allocate(spec: TensorSpec): OnnxBuffer;
  copy(buffer: OnnxBuffer): OnnxBuffer;
  /** Gives memory back. Twice is once. */
  free(buffer: EngineBuffer): void;
  /** Called before memory is asked for: gives back what nobody holds any more. */
  makeRoom(): Promise<void> | void;
  /** Runs work on another thread that uses the memory, which is not given back meanwhile. */
  during<T>(work: () => Promise<T>): Promise<T>;
}

export function onnxBuffer(buffer: EngineBuffer): OnnxBuffer {
  if (!(buffer instanceof OnnxBuffer)) throw new EngineError('onnxruntime', 'got a buffer of another engine');
  return buffer;
}
