import type { DType, TypedArray } from '../../dtype.js';

/** The element types that TensorFlow.js computes with; every dtype is held as one of them. */
export type StorageType = 'float32' | 'int32' | 'bool';

/** Host arrays of the three storage types. */
export type StorageArray = Float32Array | Int32Array | Uint8Array;

/** What is used of a `Tensor` of TensorFlow.js. */
export interface TfjsKernelTensor {
  readonly shape: number[];
  readonly dtype: string;
  data(): Promise<TypedArray>;
  dataSync(): TypedArray;
  dispose(): void;
}

/**
 * What is used of TensorFlow.js: `@tensorflow/tfjs-core`, or a package that re-exports it (`@tensorflow/tfjs`,
 * `@tensorflow/tfjs-node`). Kernels are called directly; its ops, gradients and optimizers are not.
 */
export interface Tfjs {
  /** Null until a backend was set or `ready` chose one. */
  getBackend(): string;
  ready(): Promise<void>;
  backend(): object;
  setBackend(name: string): Promise<boolean>;
  tensor(values: StorageArray, shape: number[], dtype: StorageType): TfjsKernelTensor;
  engine(): {
    runKernel(
      kernelName: string,
      inputs: KernelInputs,
      attributes?: Record<string, KernelAttribute>,
    ): TfjsKernelTensor | TfjsKernelTensor[];
  };
}

/** By the kernel's own names; an array for a kernel that takes any number. */
export type KernelInputs = Readonly<Record<string, TfjsKernelTensor>> | readonly TfjsKernelTensor[];

/** What kernels take as attributes. */
export type KernelAttribute = number | boolean | string | readonly number[] | readonly (readonly [number, number])[];

/** How a dtype is held: 16-bit floats as float32 numbers that they can hold, small integers as int32. */
export function storageTypeOf(dtype: DType): StorageType {
  if (dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16') return 'float32';
  return dtype === 'bool' ? 'bool' : 'int32';
}

/** The numbers of a float32 tensor: the cpu backend may hold them in an Int32Array, left from before a cast. */
export const asFloat32 = (values: TypedArray): Float32Array =>
  values instanceof Float32Array ? values : Float32Array.from(values);
