import { readFile } from 'node:fs/promises';
import {
  assertKnownOptions,
  custom,
  type Given,
  isPlainObject,
  listOf,
  oneOf,
  options,
  PosttrainError,
  type Read,
  text,
} from '@posttrain/interfaces';
import { parseDocument } from 'yaml';
import type { MergeMethod } from './merge-method.js';
import { checkSetting, type MergeSetting } from './setting.js';

/** A recipe that cannot be meant. */
export class MergeRecipeError extends PosttrainError {
  constructor(where: string, problem: string, options?: ErrorOptions) {
    super('MERGE_RECIPE', `${where}: ${problem}`, options);
  }
}

type Parameters = Readonly<Record<string, MergeSetting>>;

const isRange = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length === 2 &&
  value.every((entry) => Number.isSafeInteger(entry) && entry >= 0) &&
  value[0] < value[1];

const object = <T>() => custom<T>()('an object', isPlainObject, { optional: true });
const parameters = object<Parameters>();

const modelShape = {
  /** A folder, or a name on the hub. */
  model: text({}),
  /** Parameters of this model. */
  parameters,
};
const sourceShape = {
  ...modelShape,
  /** Layers [from, to) of the model. */
  layer_range: custom<readonly [number, number]>()('two whole numbers [from, to)', isRange, {}),
};
const sliceShape = {
  /** The models whose layers are merged into these. */
  sources: listOf(object<Given<ReturnType<typeof sourceOptions>>>(), {}),
  /** Parameters of this slice. */
  parameters,
};
const DTYPES = ['float32', 'float16', 'bfloat16'] as const;
const recipeShape = {
  /** One of `mergeMethods`. */
  merge_method: text({}),
  /** What differences are taken to; its config.json and tokenizer are those of the merged model. */
  base_model: text({ optional: true }),
  /** Whole models. */
  models: listOf(object<Given<ReturnType<typeof modelOptions>>>(), { optional: true }),
  /** Layers of models on top of each other, instead of `models`. */
  slices: listOf(object<Given<ReturnType<typeof sliceOptions>>>(), { optional: true }),
  /** Parameters of the method, and those of models that say nothing else. */
  parameters,
  /** What the merged weights are stored in. Default: what the base's (else the first model's) are. */
  dtype: oneOf(DTYPES, { optional: true }),
  /** Instead of `dtype`. */
  out_dtype: oneOf(DTYPES, { optional: true }),
  /** Whose tokenizer is copied: `base`, or a model of the recipe. Default `base`. */
  tokenizer_source: text({ default: 'base' }),
  /** For people. */
  name: text({ optional: true }),
};
const modelOptions = (where: string) => options(where, modelShape);
const sourceOptions = (where: string) => options(where, sourceShape);
const sliceOptions = (where: string) => options(where, sliceShape);
const NOT_HERE = {
  tokenizer: 'Tokens of another vocabulary are not built here: use tokenizer_source.',
  chat_template: 'Edit chat_template.jinja of the merged folder.',
  modules: 'Models of one module only: use models or slices.',
};
const recipeOptions = (where: string) => options(where, recipeShape, { hints: NOT_HERE });

/** A merge by mergekit's keys, as an object: what a YAML file of it says. */
export type MergeRecipe = Given<ReturnType<typeof recipeOptions>>;

/** A model of a checked recipe. */
export interface RecipeSource {
  readonly model: string;
  readonly parameters: Parameters;
  readonly layers?: readonly [number, number];
  /** Its place in the recipe, for errors. */
  readonly where: string;
}

/** A checked recipe; one slice without layers is the whole of the models. */
export interface CheckedRecipe
  extends Omit<Read<ReturnType<typeof recipeOptions>>, 'models' | 'slices' | 'parameters'> {
  readonly method: MergeMethod;
  readonly parameters: Parameters;
  readonly slices: readonly { readonly sources: readonly RecipeSource[]; readonly parameters: Parameters }[];
}

/** A recipe from a file of YAML, as mergekit's are. @throws MergeRecipeError */
export async function readMergeRecipe(path: string): Promise<MergeRecipe> {
  let content: string;
  try {
    content = await readFile(path, 'utf8');
  } catch (cause) {
    throw new MergeRecipeError(path, 'cannot be read. Give the path of a recipe in YAML.', { cause });
  }
  const refused = (problem: string, cause?: unknown) =>
    new MergeRecipeError(path, `is not one document of YAML: ${problem.split('\n')[0]}`, { cause });
  const document = parseDocument(content);
  const [error] = document.errors;
  if (error) throw refused(error.message, error);
  let recipe: unknown;
  try {
    // Aliases of aliases would make much out of little.
    recipe = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw refused((cause as Error).message, cause);
  }
  if (!isPlainObject(recipe)) throw new MergeRecipeError(path, 'is no mapping; it needs merge_method and models.');
  return recipe as unknown as MergeRecipe;
}

/**
 * Holds a recipe to the keys that there are, before anything is read.
 *
 * @param where the file, which errors begin with
 * @throws OptionError (unknown, missing or impossible keys, with their place), MergeRecipeError
 */
export function checkRecipe(
  recipe: MergeRecipe,
  methods: Readonly<Record<string, MergeMethod>>,
  where: string,
): CheckedRecipe {
  const { models, slices, parameters: given = {}, ...rest } = recipeOptions(where).read(recipe);
  oneOfMethods(where, methods).read({ merge_method: rest.merge_method });
  const method = methods[rest.merge_method]!;
  const ofModel = Object.keys(method.modelOptions.shape);
  const ofMerge = Object.keys(method.options.shape);
  const checkParameters = (place: string, values: Parameters, known: readonly string[]): Parameters => {
    assertKnownOptions(place, values, known);
    for (const [name, value] of Object.entries(values)) checkSetting(place, name, value);
    return values;
  };
  if ((models === undefined) === (slices === undefined)) {
    throw new MergeRecipeError(where, 'needs either models or slices.');
  }
  const sourceOf = (place: string, { model, parameters: own = {} }: { model: string; parameters?: Parameters }) => ({
    model,
    parameters: checkParameters(`${place}.parameters`, own, ofModel),
    where: place,
  });
  const checked = slices
    ? slices.map((slice, i) => {
        const place = `${where}: slices[${i}]`;
        const { sources, parameters: own = {} } = sliceOptions(place).read(slice ?? {});
        return {
          parameters: checkParameters(`${place}.parameters`, own, [...ofModel, ...ofMerge]),
          sources: sources.map((source, j) => {
            const read = sourceOptions(`${place}.sources[${j}]`).read(source!);
            return { ...sourceOf(`${place}.sources[${j}]`, read), layers: read.layer_range };
          }),
        };
      })
    : [
        {
          parameters: {},
          sources: models!.map((model, i) => {
            const place = `${where}: models[${i}]`;
            return sourceOf(place, modelOptions(place).read(model!));
          }),
        },
      ];
  for (const { sources } of checked) checkCounts(where, method, rest.base_model, sources);
  const parametersOfAll = checkParameters(`${where}: parameters`, given, [...ofModel, ...ofMerge]);
  return { ...rest, method, parameters: parametersOfAll, slices: checked };
}

const oneOfMethods = (where: string, methods: object) =>
  options(where, { merge_method: oneOf(Object.keys(methods), {}) });

function checkCounts(
  where: string,
  { name, base, models: { min, max = Number.POSITIVE_INFINITY } }: MergeMethod,
  baseModel: string | undefined,
  sources: readonly RecipeSource[],
): void {
  if (base === 'needed' && baseModel === undefined) {
    throw new MergeRecipeError(where, `${name} takes differences to a base_model, which is not named.`);
  }
  const count = base === 'needed' ? sources.filter(({ model }) => model !== baseModel).length : sources.length;
  const ofBase = base === 'needed' ? sources.find(({ model }) => model === baseModel) : undefined;
  if (ofBase && Object.keys(ofBase.parameters).length > 0) {
    throw new MergeRecipeError(ofBase.where, `${baseModel} is the base_model, for which ${name} has no parameters.`);
  }
  if (count >= min && count <= max) return;
  const wanted = max === min ? `${min}` : max === Number.POSITIVE_INFINITY ? `${min} or more` : `${min} to ${max}`;
  const beside = base === 'needed' ? ' beside the base_model' : '';
  throw new MergeRecipeError(where, `${name} merges ${wanted} models${beside}, not ${count}.`);
}
