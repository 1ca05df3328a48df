import { sameShape } from '../../shape.js';
import type { KernelAttribute, KernelInputs, StorageArray, StorageType, Tfjs, TfjsKernelTensor } from './tfjs.js';

/** What the kernels of a backend get wrong or do slowly, found by the conformance suite; the rules go around it. */
export type Gap =
  /** Products of int32 lose their low bits above 2^53. */
  | 'int32 product'
  /** `pow(1, NaN)` and `pow(-1, Infinity)` are NaN, as in JavaScript. */
  | 'pow of ones'
  /** `TensorScatterUpdate` writes into its input. */
  | 'update in place'
  /** `Maximum` and `Minimum` give the number where one of the two is NaN. */
  | 'maximum of NaN'
  /** `Select`, `ScatterNd` and the like read bool tensors as if they were wider. */
  | 'bool elements'
  /** `BatchMatMul` is fast for one product of operands that are not transposed, and slow for all others. */
  | 'other products';

const GAPS: Readonly<Record<string, readonly Gap[]>> = {
  cpu: ['int32 product', 'pow of ones', 'update in place'],
  wasm: ['maximum of NaN', 'bool elements', 'other products'],
};

/** The kernels of one backend, with a record of every tensor made, so that one primitive's temporaries can be freed. */
export class KernelScope {
  readonly #made = new Set<TfjsKernelTensor>();
  readonly #tf: Tfjs;
  readonly #backendName: string;

  constructor(tf: Tfjs, backendName: string) {
    this.#tf = tf;
    this.#backendName = backendName;
  }

  /** Whether kernels are TensorFlow's own: products broadcast, and a reshape costs as much as any other call. */
  get isNative(): boolean {
    return this.#backendName === 'tensorflow';
  }

  hasGap(gap: Gap): boolean {
    return GAPS[this.#backendName]?.includes(gap) ?? false;
  }

  run(
    kernel: string,
    inputs: KernelInputs,
    attributes: Readonly<Record<string, KernelAttribute>> = {},
  ): TfjsKernelTensor {
    return this.runAll(kernel, inputs, attributes)[0]!;
  }

  runAll(
    kernel: string,
    inputs: KernelInputs,
    attributes: Readonly<Record<string, KernelAttribute>> = {},
  ): TfjsKernelTensor[] {
    const outputs = [this.#tf.engine().runKernel(kernel, inputs, attributes)].flat();
    for (const output of outputs) this.#made.add(output);
    return outputs;
  }

  upload(values: StorageArray, shape: readonly number[]): TfjsKernelTensor {
    const type: StorageType =
      values instanceof Float32Array ? 'float32' : values instanceof Int32Array ? 'int32' : 'bool';
    const tensor = this.#tf.tensor(values, [...shape], type);
    this.#made.add(tensor);
    return tensor;
  }

  scalar(value: number, type: StorageType): TfjsKernelTensor {
    const values = { float32: Float32Array, int32: Int32Array, bool: Uint8Array }[type];
    return this.upload(values.of(value), []);
  }

  /** The same elements under a handle of its own. */
  share(x: TfjsKernelTensor): TfjsKernelTensor {
    return this.run('Identity', { x });
  }

  reshape(x: TfjsKernelTensor, shape: readonly number[]): TfjsKernelTensor {
    return sameShape(x.shape, shape) ? x : this.run('Reshape', { x }, { shape });
  }

  cast(x: TfjsKernelTensor, type: StorageType): TfjsKernelTensor {
    if (x.dtype === type) return x;
    if (type === 'bool') return this.run('NotEqual', { a: x, b: this.scalar(0, x.dtype as StorageType) });
    return this.run('Cast', { x }, { dtype: type });
  }

  broadcast(x: TfjsKernelTensor, shape: readonly number[]): TfjsKernelTensor {
    const aligned = [...new Array<number>(shape.length - x.shape.length).fill(1), ...x.shape];
    if (sameShape(aligned, shape)) return this.reshape(x, shape);
    const repeats = shape.map((size, axis) => (aligned[axis] === size ? 1 : size));
    if (x.dtype === 'bool') return this.run('Tile', { x: this.reshape(x, aligned) }, { reps: repeats });
    // Exact, and on wasm a hundred times faster than Tile.
    const ones = this.run('Fill', {}, { shape: repeats, value: 1, dtype: x.dtype });
    return this.run('Multiply', { a: this.reshape(x, aligned), b: ones });
  }

  /** Hands `kept` over to the caller and frees everything else that was made since the last call. */
  release(kept: readonly TfjsKernelTensor[]): void {
    for (const tensor of this.#made) if (!kept.includes(tensor)) tensor.dispose();
    this.#made.clear();
  }

  /** Whether the tensor was made here and not yet handed over. */
  owns(tensor: TfjsKernelTensor): boolean {
    return this.#made.has(tensor);
  }
}
