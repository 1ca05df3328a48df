import type { TensorSource } from '@posttrain/core-tensor/io';
import type { Option } from '@posttrain/interfaces';

/** A run of numbers of one tensor, of every model. The arrays are used again for the next part: nothing may keep them. */
export interface MergePart {
  /** Place of the first number in the flat tensor. */
  readonly from: number;
  /** Of the base; empty where the recipe names none. */
  readonly base: Float32Array;
  readonly models: readonly Float32Array[];
}

/** One tensor of the models of a merge, which is read as often as a method asks for it, and never held whole unasked. */
export interface MergeTensor {
  /** Its name in what is written. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly size: number;
  readonly models: number;
  /** The weight of a linear layer that is stored [in, out], as GPT-2's are. */
  readonly transposed: boolean;
  /** All of it from first to last, in whole rows of the last dimension. */
  parts(): AsyncIterable<MergePart>;
  /** Numbers in [0, 1) for `count` places from `from` on: the same for a seed, whatever the parts are. */
  uniforms(model: number, from: number, count: number): Float64Array;
  /** The folder of numbers about a model that its parameter `name` says (Fisher information, Gram matrices). */
  about(model: number, name: string): Promise<TensorSource>;
  /** The whole of a model's tensor, for a method that needs a matrix. */
  whole(model: number): Promise<Float32Array>;
}

/** Merges a part: as many numbers as it has, in float64 or float32. */
export type MergeParts = (part: MergePart) => Float64Array | Float32Array | Promise<Float64Array | Float32Array>;

/** Declared parameters; names are mergekit's. */
export type MergeParameters = Readonly<Record<string, Option<unknown>>>;

/**
 * A way to merge models, tensor by tensor. `merge` looks at a whole tensor, by as many passes over its parts as it takes, and
 * gives a function that merges a part of it.
 */
export interface MergeMethod<Merge extends object = object, Each extends object = object> {
  /** `merge_method` of a recipe. */
  readonly name: string;
  /** Whether the recipe names a `base_model`: where `needed`, it is not one of the models that are merged. */
  readonly base: 'needed' | 'none';
  /** Least and most models beside the base. */
  readonly models: { readonly min: number; readonly max?: number };
  /** Parameters of the merge. */
  readonly options: MergeMethodOptions<Merge>;
  /** Parameters of each model; what the recipe says of all of them is the default. */
  readonly modelOptions: MergeMethodOptions<Each>;
  merge(tensor: MergeTensor, options: Merge, each: readonly Each[]): MergeParts | Promise<MergeParts>;
}

/** What `options()` gives, as far as a merge needs it. */
export interface MergeMethodOptions<Values extends object> {
  readonly where: string;
  readonly shape: MergeParameters;
  read(given: object): Values;
}

/** Σ wᵢ xᵢ, number by number. */
export function weightedSum(models: readonly Float32Array[], weights: readonly number[]): Float64Array {
  const sum = new Float64Array(models[0]!.length);
  models.forEach((model, i) => {
    const weight = weights[i]!;
    for (let j = 0; j < sum.length; j++) sum[j]! += weight * model[j]!;
  });
  return sum;
}

/** ⟨xᵢ, xⱼ⟩ of a tensor of all models, or of their differences to the base: one pass. */
export async function innerProducts(tensor: MergeTensor, of: 'models' | 'differences'): Promise<number[][]> {
  const n = tensor.models;
  const products = Array.from({ length: n }, () => new Array<number>(n).fill(0));
  for await (const { base, models } of tensor.parts()) {
    const at = (i: number, k: number) => models[i]![k]! - (of === 'models' ? 0 : base[k]!);
    for (let i = 0; i < n; i++) {
      for (let j = i; j < n; j++) {
        let sum = 0;
        for (let k = 0; k < models[i]!.length; k++) sum += at(i, k) * at(j, k);
        products[i]![j]! += sum;
        if (i !== j) products[j]![i]! += sum;
      }
    }
  }
  return products;
}
