import { copyFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Key } from '@posttrain/core-tensor';
import { type DTypeArray, encodeNumbers, stageSafetensorsFolder, type TensorToWrite } from '@posttrain/core-tensor/io';
import { custom, type Given, integer, number, type OnProgress, options, text } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { stringify } from 'yaml';
import { MergeError } from '../adapters/errors.js';
import type { MergeMethod } from './merge-method.js';
import { mergeMethods } from './merge-methods.js';
import { streamedTensor } from './merge-tensor.js';
import { OpenFolders, type OpenModel } from './open-folders.js';
import { type PlannedTensor, planMerge, sameEverywhere } from './plan.js';
import { type CheckedRecipe, checkRecipe, type MergeRecipe } from './recipe.js';

const mergeOptions = options('mergeModels', {
  /** The folder that is written. */
  output: text({}),
  /** For methods that draw (DARE, DELLA): the same seed, the same model. Default 0. */
  randomSeed: integer({ default: 0, min: 0 }),
  /** Most numbers of a tensor that are held at once, of each model. Default 2²⁰. */
  partNumbers: integer({ default: 2 ** 20, min: 1, decisive: false }),
  /** Most bytes of a file of weights. Default 5e9. */
  maxShardBytes: number({ default: 5e9, above: 0, decisive: false }),
  /** Methods of your own, beside `mergeMethods`. */
  methods: custom<readonly MergeMethod[]>()(
    'a list of merge methods',
    (value) => Array.isArray(value) && value.every((entry) => typeof entry?.merge === 'function'),
    { default: [] },
  ),
  /** What errors call the recipe. Default `recipe`. */
  recipeName: text({ default: 'recipe', decisive: false }),
  /** Called after each tensor. */
  onProgress: custom<OnProgress>()('a function', (value) => typeof value === 'function', {
    optional: true,
    decisive: false,
  }),
});
/** Options of `mergeModels`. */
export type MergeModelsOptions = Given<typeof mergeOptions>;

/** What was merged. */
export interface MergedModels {
  readonly folder: string;
  /** Files of weights that were written. */
  readonly files: readonly string[];
  readonly tensors: number;
  readonly parameters: number;
}

/** Files beside the weights that come from the model whose tokenizer it is. */
const TOKENIZER_FILES = [
  ...['tokenizer.json', 'tokenizer_config.json', 'tokenizer.model', 'vocab.json', 'merges.txt', 'vocab.txt'],
  ...['special_tokens_map.json', 'added_tokens.json', 'chat_template.jinja'],
];

/**
 * Merges models of one architecture into a new folder, by a recipe of mergekit's keys: `await mergeModels({ merge_method: 'ties',
 * base_model: 'base', models: [{ model: 'a' }, { model: 'b' }], parameters: { density: 0.5 } }, { output: 'merged' })`.
 *
 * Tensors are read and written part by part, so that models may be larger than memory: a part of `partNumbers` numbers is held
 * of each model (RegMean holds matrices whole). What is computed is float64 of the numbers in the files, rounded once, to the
 * dtype that is stored. Either the whole folder appears or none of it.
 *
 * @throws OptionError, MergeRecipeError, MergeError (models that do not fit), and what `openSafetensorsFolder` throws
 */
export async function mergeModels(recipe: MergeRecipe, given: MergeModelsOptions): Promise<MergedModels> {
  const { output, randomSeed, partNumbers, maxShardBytes, methods, recipeName, onProgress } = mergeOptions.read(given);
  const own = Object.fromEntries(methods.map((method) => [method.name, method]));
  const checked = checkRecipe(recipe, { ...mergeMethods, ...own }, recipeName);
  const open = new OpenFolders();
  try {
    const names = [...checked.slices.flatMap(({ sources }) => sources.map(({ model }) => model))];
    if (checked.base_model !== undefined) names.unshift(checked.base_model);
    const models = new Map<string, OpenModel>();
    for (const name of new Set(names)) models.set(name, await open.model(name));
    const leader = models.get(names[0]!)!;
    const plan = planMerge(checked, models);
    const key = Key.fromSeed(randomSeed);
    let done = 0;
    const tensors = plan.tensors.map(
      (tensor, i): TensorToWrite => ({
        name: tensor.name,
        dtype: tensor.dtype,
        shape: tensor.shape,
        data: () =>
          mergedParts(checked, tensor, open, { key: key.child(i), partNumbers }, () => {
            done += 1;
            onProgress?.({ stage: 'merge', done, total: plan.tensors.length });
          }),
      }),
    );
    const tokenizer = tokenizerFolder(checked, recipeName, models, leader);
    let files: readonly string[] = [];
    await writeAtomically(async (staged) => {
      const staging = await staged.stageFolder(output);
      files = await stageSafetensorsFolder(staged, output, tensors, { maxShardBytes });
      const texts = {
        'config.json': `${JSON.stringify(configOf(leader.config, checked, plan.layers), null, 2)}\n`,
        'mergekit_config.yml': stringify(recipe),
      };
      for (const [file, content] of Object.entries(texts)) {
        await staged.stage(join(output, file), (write) => write(new TextEncoder().encode(content)));
      }
      for (const [folder, names] of [
        [tokenizer, TOKENIZER_FILES],
        [leader.folder, ['generation_config.json']],
      ] as const) {
        for (const file of names) {
          if (await isFile(join(folder, file))) await copyFile(join(folder, file), join(staging, file));
          else staged.remove(join(output, file));
        }
      }
    });
    const parameters = plan.tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    return { folder: output, files, tensors: plan.tensors.length, parameters };
  } finally {
    await open.close();
  }
}

async function* mergedParts(
  { method }: CheckedRecipe,
  planned: PlannedTensor,
  open: OpenFolders,
  { key, partNumbers }: { readonly key: Key; readonly partNumbers: number },
  onDone: () => void,
): AsyncGenerator<DTypeArray> {
  const { name, shape, base, models, transposed, options: ofMerge, each, dtype, isNumbers } = planned;
  if (isNumbers) {
    const about = (model: number, parameter: string) => {
      return open.source((each[model] as Readonly<Record<string, string>>)[parameter]!);
    };
    const tensor = streamedTensor({ name, shape, base, models, transposed, about, key, partNumbers });
    const merge = await method.merge(tensor, ofMerge, each);
    for await (const part of tensor.parts()) {
      const merged = await merge(part);
      const size = part.models[0]!.length;
      if (merged.length !== size) {
        throw new MergeError(`${method.name} gave ${merged.length} numbers of ${name} for a part of ${size}`);
      }
      refuseNonFinite(name, merged, dtype);
      yield encodeNumbers(merged, dtype) as DTypeArray;
    }
  } else yield await sameEverywhere(planned);
  onDone();
}

/** From which number on one of a dtype would be rounded to infinity: the largest and half a step. */
const TOO_LARGE: Readonly<Partial<Record<string, number>>> = {
  float16: 65520,
  bfloat16: (2 - 2 ** -8) * 2 ** 127,
  float32: (2 - 2 ** -24) * 2 ** 127,
};

/** A model of numbers that are none would load, and say nothing. @throws MergeError */
function refuseNonFinite(name: string, merged: ArrayLike<number>, dtype: PlannedTensor['dtype']): void {
  const most = TOO_LARGE[dtype] ?? Number.POSITIVE_INFINITY;
  for (let i = 0; i < merged.length; i++) {
    const value = merged[i]!;
    if (Math.abs(value) < most) continue;
    const remedy = Number.isFinite(value)
      ? `${dtype} cannot hold it: take another dtype, or lower weights`
      : 'lower its weights, or look for such numbers in the models';
    throw new MergeError(`${name} would have the number ${value}; ${remedy}`);
  }
}

function tokenizerFolder(
  { tokenizer_source: source }: CheckedRecipe,
  where: string,
  models: ReadonlyMap<string, OpenModel>,
  leader: OpenModel,
): string {
  if (source === 'base') return leader.folder;
  const found = models.get(source);
  if (found) return found.folder;
  throw new MergeError(
    `${where}: tokenizer_source ${JSON.stringify(source)} is neither "base" nor a model of the recipe (${[...models.keys()].join(', ')})`,
  );
}

function configOf(
  config: Readonly<Record<string, unknown>>,
  { dtype, out_dtype: stored = dtype }: CheckedRecipe,
  layers: number | undefined,
): object {
  const key = 'torch_dtype' in config ? 'torch_dtype' : 'dtype';
  const layersKey = 'n_layer' in config ? 'n_layer' : 'num_hidden_layers';
  return {
    ...config,
    ...(stored !== undefined && { [key]: stored }),
    ...(layers !== undefined && { [layersKey]: layers }),
  };
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
