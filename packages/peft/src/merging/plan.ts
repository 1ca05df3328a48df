import type { DType } from '@posttrain/core-tensor';
import type { DTypeArray, SafetensorsDType, TensorInfo } from '@posttrain/core-tensor/io';
import { options } from '@posttrain/interfaces';
import { MergeError } from '../adapters/errors.js';
import type { SourceTensor } from './merge-tensor.js';
import type { OpenModel } from './open-folders.js';
import type { CheckedRecipe, RecipeSource } from './recipe.js';
import { type SettingPlace, settingAt } from './setting.js';

/** One tensor of the merged model, and all that decides it. */
export interface PlannedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** False: integers, which no method merges, and which must be the same in all models. */
  readonly isNumbers: boolean;
  readonly transposed: boolean;
  readonly base: SourceTensor | undefined;
  readonly models: readonly SourceTensor[];
  readonly options: object;
  readonly each: readonly object[];
}

/** All tensors of the merged model; `layers` where slices say how many it has. */
export interface MergePlan {
  readonly tensors: readonly PlannedTensor[];
  readonly layers: number | undefined;
}

const FLOATS: Partial<Record<SafetensorsDType, DType>> = {
  F64: 'float32',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
};

/** `model.layers.3.mlp` as `model.layers.`, 3, `.mlp`; undefined outside the layers. */
function layerOf(
  name: string,
): { readonly before: string; readonly layer: number; readonly after: string } | undefined {
  const found = /^((?:.*?\.)?)(\d+)(\..*)$/.exec(name);
  return found ? { before: found[1]!, layer: Number(found[2]), after: found[3]! } : undefined;
}

const isEmbedding = (name: string): boolean => /embed|\bw[tp]e\b/.test(name);

/**
 * Holds the models to one architecture and every parameter to its range, before a number is read.
 *
 * @throws MergeError, OptionError
 */
export function planMerge(recipe: CheckedRecipe, models: ReadonlyMap<string, OpenModel>): MergePlan {
  checkArchitectures([...models.values()]);
  const hasLayers = recipe.slices.some(({ sources }) => sources.some(({ layers }) => layers));
  if (!hasLayers) {
    const [slice] = recipe.slices;
    const names = [...models.get(slice!.sources[0]!.model)!.weights.tensors.keys()];
    const most = Math.max(0, ...names.map((name) => layerOf(name)?.layer ?? 0));
    const tensors = names.map((name) => {
      const layer = layerOf(name)?.layer;
      const depth = layer === undefined ? 0 : layer / Math.max(1, most);
      return planTensor(recipe, models, { tensor: name, depth }, slice!, () => name);
    });
    checkNames(models, names);
    return { tensors, layers: undefined };
  }
  return planSlices(recipe, models);
}

/** Layers of slices on top of each other; what is outside the layers is of the first slice (embeddings) and the last. */
function planSlices(recipe: CheckedRecipe, models: ReadonlyMap<string, OpenModel>): MergePlan {
  const tensors: PlannedTensor[] = [];
  let layers = 0;
  for (const [i, slice] of recipe.slices.entries()) {
    const [first] = slice.sources;
    if (!first) throw new MergeError(`slices[${i}] has no sources`);
    const [from, to] = first.layers!;
    const count = to - from;
    const odd = slice.sources.find(({ layers: [a, b] = [0, 0] }) => b - a !== count);
    if (odd) throw new MergeError(`${odd.where}: layer_range must have ${count} layers, as the first source's`);
    if (recipe.method.base === 'needed' && !slice.sources.some(({ model }) => model === recipe.base_model)) {
      throw new MergeError(`slices[${i}]: base_model ${recipe.base_model} must be one of the sources, with its layers`);
    }
    for (const { model, layers: range, where } of slice.sources) {
      const names = [...models.get(model)!.weights.tensors.keys()];
      const there = 1 + Math.max(-1, ...names.map((name) => layerOf(name)?.layer ?? -1));
      if (range![1] > there) throw new MergeError(`${where}: ${model} has layers [0, ${there}), not [${range}]`);
    }
    for (const name of models.get(first.model)!.weights.tensors.keys()) {
      const place = layerOf(name);
      if (!place) {
        const owner = isEmbedding(name) ? 0 : recipe.slices.length - 1;
        if (i !== owner) continue;
        tensors.push(planTensor(recipe, models, { tensor: name, depth: 0 }, slice, () => name));
      } else if (place.layer >= from && place.layer < to) {
        const { before, after, layer } = place;
        const depth = count === 1 ? 0 : (layer - from) / (count - 1);
        const tensor = `${before}${layers + layer - from}${after}`;
        const nameIn = ({ layers: range }: RecipeSource) => `${before}${range![0] + layer - from}${after}`;
        tensors.push(planTensor(recipe, models, { tensor, depth }, slice, nameIn));
      }
    }
    layers += count;
  }
  return { tensors, layers };
}

function planTensor(
  recipe: CheckedRecipe,
  models: ReadonlyMap<string, OpenModel>,
  place: SettingPlace,
  { sources, parameters }: CheckedRecipe['slices'][number],
  nameIn: (source: RecipeSource) => string,
): PlannedTensor {
  const { method, base_model: baseName, dtype, out_dtype: stored = dtype } = recipe;
  const isBase = ({ model }: RecipeSource) => method.base === 'needed' && model === baseName;
  const find = (model: string, name: string): SourceTensor & { readonly info: TensorInfo; readonly model: string } => {
    const { weights } = models.get(model)!;
    const info = weights.tensors.get(name);
    if (!info) throw new MergeError(`${model} has no tensor ${name}, which others of the merge have`);
    return { source: weights, name, info, model };
  };
  const merged = sources.filter((source) => !isBase(source));
  const ofBase = sources.find(isBase);
  const base = method.base === 'needed' ? find(baseName!, ofBase ? nameIn(ofBase) : place.tensor) : undefined;
  const found = merged.map((source) => find(source.model, nameIn(source)));
  const all = [...(base ? [base] : []), ...found];
  const { info: leader, model: first } = all[0]!;
  for (const { info, model, name } of all) {
    if (`${info.shape}` === `${leader.shape}`) continue;
    throw new MergeError(
      `${name} is [${leader.shape}] in ${first} and [${info.shape}] in ${model}: these do not merge`,
    );
  }
  const floats = all.every(({ info }) => FLOATS[info.dtype] !== undefined);
  const read = (kind: 'options' | 'modelOptions', where: string, given: readonly (typeof parameters)[]): object => {
    const { shape } = method[kind];
    const values: Record<string, unknown> = {};
    for (const name of Object.keys(shape)) {
      for (const level of given) {
        const value = level[name] === undefined ? undefined : settingAt(level[name], place);
        if (value === undefined) continue;
        values[name] = value;
        break;
      }
    }
    return options(`${where} (for ${place.tensor})`, shape).read(values);
  };
  const levels = [parameters, recipe.parameters];
  return {
    name: place.tensor,
    shape: leader.shape,
    dtype: (floats ? (stored ?? FLOATS[leader.dtype]) : 'int32') ?? 'float32',
    isNumbers: floats,
    // GPT-2's linear layers, of which c_attn, c_proj and c_fc are all.
    transposed: models.get(first)!.config.model_type === 'gpt2' && /\.c_\w+\.weight$/.test(place.tensor),
    ...{ base, models: found },
    options: read('options', `${method.name}: parameters`, levels),
    each: merged.map((source) => read('modelOptions', `${source.where}.parameters`, [source.parameters, ...levels])),
  };
}

/** What a model is, as far as its tensors do not say it. */
const ARCHITECTURE = ['model_type', 'hidden_size', 'n_embd', 'num_attention_heads', 'n_head', 'vocab_size'];

function checkArchitectures(models: readonly OpenModel[]): void {
  const [first, ...others] = models;
  for (const other of others) {
    const key = ARCHITECTURE.find((name) => first!.config[name] !== other.config[name]);
    if (key === undefined) continue;
    throw new MergeError(
      `${first!.name} and ${other.name} are different architectures: ${key} is ${first!.config[key]} and ${other.config[key]}`,
    );
  }
}

/** Every model has the tensors of the others. */
function checkNames(models: ReadonlyMap<string, OpenModel>, names: readonly string[]): void {
  const known = new Set(names);
  for (const { name, weights } of models.values()) {
    const extra = [...weights.tensors.keys()].find((tensor) => !known.has(tensor));
    if (extra === undefined) continue;
    throw new MergeError(
      `${name} has a tensor ${extra}, which others of the merge have not (a tied output layer of its own?): load and save all with the same settings`,
    );
  }
}

/** The bytes of a tensor of integers, which all models must agree on. */
export async function sameEverywhere({ name, base, models }: PlannedTensor): Promise<DTypeArray> {
  const all = [...(base ? [base] : []), ...models];
  const [first, ...others] = await Promise.all(all.map(({ source, name: own }) => source.read(own)));
  for (const other of others) {
    if (Buffer.from(other.data.buffer).equals(Buffer.from(first!.data.buffer))) continue;
    throw new MergeError(`${name} holds no floating-point numbers and differs between the models: it cannot be merged`);
  }
  return first!.data;
}
