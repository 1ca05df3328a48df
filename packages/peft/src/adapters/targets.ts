import { nearestName, showValue } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError, TargetModulesError } from './errors.js';
import type { TargetedConfig } from './layer-method.js';
import { fullMatch } from './python-regex.js';

/** PEFT's default targets per `model_type` (TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING of PEFT 0.21). */
export const LORA_TARGETS: Readonly<Record<string, readonly string[]>> = {
  gemma2: ['q_proj', 'v_proj'],
  gemma3_text: ['q_proj', 'v_proj'],
  gpt2: ['c_attn'],
  llama: ['q_proj', 'v_proj'],
  mistral: ['q_proj', 'v_proj'],
  mixtral: ['q_proj', 'v_proj'],
  qwen2: ['q_proj', 'v_proj'],
  qwen3: ['q_proj', 'v_proj'],
  gemma: ['q_proj', 'v_proj'],
  stablelm: ['q_proj', 'v_proj'],
  phi: ['q_proj', 'v_proj', 'fc1', 'fc2'],
  gpt_neox: ['query_key_value'],
  falcon: ['query_key_value'],
  opt: ['q_proj', 'v_proj'],
  bloom: ['query_key_value'],
};

/** Where PEFT's mapping of a method lacks model types that LoRA's has, or names others. */
export function targetsBut(
  without: readonly string[],
  others: Readonly<Record<string, readonly string[]>> = {},
): Readonly<Record<string, readonly string[]>> {
  return { ...Object.fromEntries(Object.entries(LORA_TARGETS).filter(([type]) => !without.includes(type))), ...others };
}

/** A module that an adapter leaves out, with the reason. */
export interface SkippedModule {
  readonly name: string;
  readonly reason: 'not targeted' | 'excluded' | 'another layer' | 'in modulesToSave';
}

/** The modules that patterns match, and those that they do not. */
export interface TargetMatch<Place extends TargetPlace = ModuleInfo> {
  readonly matched: readonly Place[];
  readonly skipped: readonly SkippedModule[];
  /** Modules trained whole (`modulesToSave`). */
  readonly saved: readonly Place[];
  /** `targetModules` with null and "all-linear" written out, as PEFT's files have it. */
  readonly targetModules: readonly string[] | string;
}

/** Which modules are meant: patterns, as PEFT has them. */
export type TargetOptions = Pick<
  TargetedConfig,
  'targetModules' | 'excludeModules' | 'layersToTransform' | 'layersPattern' | 'modulesToSave'
>;

/** What has a path that targets are chosen by: a module, or a normalisation. */
export interface TargetPlace {
  readonly name: string;
  readonly kind?: ModuleInfo['kind'];
}

/** Whether a module path is `entry` or ends in it after a dot. */
const endsIn = (name: string, entry: string): boolean => name === entry || name.endsWith(`.${entry}`);

/** Throws when an entry of a list, or an index, selects nothing. */
type Strictness = 'every entry' | 'any entry';

/**
 * Chooses the modules an adapter enters, by PEFT's rules: see `targetOptions` and its kin for the options.
 *
 * With `'every entry'` each entry of each list must select something, which PEFT does not ask for; `'any entry'` is for
 * files that PEFT wrote.
 *
 * @throws TargetModulesError naming the modules there are; AdapterConfigError
 */
export function matchTargets<Place extends TargetPlace>(
  modules: Iterable<Place>,
  modelType: string,
  options: TargetOptions,
  strictness: Strictness = 'every entry',
  defaults: Readonly<Record<string, readonly string[]>> = LORA_TARGETS,
): TargetMatch<Place> {
  const all = [...modules];
  const { modulesToSave = null, layersToTransform = null } = options;
  const targetModules = writtenOut(options.targetModules, all, modelType, defaults);
  if (typeof targetModules === 'string' && layersToTransform !== null) {
    throw new AdapterConfigError('layersToTransform needs a list in targetModules, not a regular expression.');
  }
  const isTarget = matcher('targetModules', targetModules, all, strictness);
  const isExcluded = matcher('excludeModules', options.excludeModules ?? [], all, strictness);
  const isSaved = savedMatcher(modulesToSave, all, strictness);
  const isInLayers = layerFilter(options, all);

  const matched: Place[] = [];
  const skipped: SkippedModule[] = [];
  for (const module of all) {
    const { name } = module;
    if (isExcluded(name)) skipped.push({ name, reason: 'excluded' });
    else if (isSaved(name)) skipped.push({ name, reason: 'in modulesToSave' });
    else if (!isTarget(name)) skipped.push({ name, reason: 'not targeted' });
    // As in PEFT, a module named by its whole path is meant whatever its layer.
    else if (isInLayers(name) || targetModules.includes(name)) matched.push(module);
    else skipped.push({ name, reason: 'another layer' });
  }
  if (matched.length === 0) {
    throw new TargetModulesError(
      `targetModules ${JSON.stringify(targetModules)} with the other options selects no module. ${available(all)}`,
    );
  }
  return { matched, skipped, saved: all.filter(({ name }) => isSaved(name)), targetModules };
}

/** Whether a path is meant by a list of paths or dotted endings, or by a regular expression for the whole of it. */
export const isTargeted = (pattern: readonly string[] | string, name: string, option: string): boolean =>
  typeof pattern === 'string' ? fullMatch(pattern, option)(name) : pattern.some((entry) => endsIn(name, entry));

/**
 * The modules that `modulesToSave` means, for methods whose targets are no modules.
 *
 * @throws TargetModulesError, AdapterConfigError
 */
export function matchSaved(
  modules: Iterable<ModuleInfo>,
  { modulesToSave = null }: Pick<TargetedConfig, 'modulesToSave'>,
  strictness: Strictness,
): readonly ModuleInfo[] {
  const all = [...modules];
  const isSaved = savedMatcher(modulesToSave, all, strictness);
  return all.filter(({ name }) => isSaved(name));
}

/**
 * The normalisations that `modulesToSave` means. PEFT takes any ending of a path, with or without a dot: `norm` is `model.norm` and
 * every `input_layernorm`.
 */
export const matchSavedNorms = <Place extends TargetPlace>(
  norms: Iterable<Place>,
  modulesToSave: readonly string[] | null,
): readonly Place[] => [...norms].filter(({ name }) => (modulesToSave ?? []).some((entry) => name.endsWith(entry)));

function savedMatcher(
  modulesToSave: readonly string[] | null,
  all: readonly TargetPlace[],
  strictness: Strictness,
): (name: string) => boolean {
  if (modulesToSave !== null && !Array.isArray(modulesToSave)) {
    throw new AdapterConfigError(`modulesToSave must be a list of texts or null, not ${showValue(modulesToSave)}`);
  }
  return matcher('modulesToSave', withHeadLayers(modulesToSave ?? [], all), all, strictness);
}

/** Experts are parameters of one module in transformers 5, and no linear layers: "all-linear" leaves them out as PEFT's does. */
const EXPERT = /\.experts\.\d+\./;
/** Of these it names them: for LoRA as `allLinearOfMixture` says, for other methods each by itself. */
const EXPERTS_APART: readonly string[] = ['mixtral', 'qwen3_moe'];

function writtenOut(
  targetModules: TargetOptions['targetModules'],
  all: readonly TargetPlace[],
  modelType: string,
  defaults: Readonly<Record<string, readonly string[]>>,
): readonly string[] | string {
  if (targetModules === null) {
    const known = defaults[modelType];
    if (known) return known;
    throw new TargetModulesError(`there are no default targets for ${modelType}: set targetModules. ${available(all)}`);
  }
  if (typeof targetModules === 'string' && targetModules.toLowerCase() === 'all-linear') {
    const isIn = ({ name }: TargetPlace) => EXPERTS_APART.includes(modelType) || !EXPERT.test(name);
    return all.filter((place) => place.kind === 'linear' && isIn(place)).map(({ name }) => name);
  }
  return targetModules;
}

function matcher(
  option: string,
  pattern: readonly string[] | string,
  all: readonly TargetPlace[],
  strictness: Strictness,
): (name: string) => boolean {
  if (typeof pattern !== 'string' && !(Array.isArray(pattern) && pattern.every((entry) => typeof entry === 'string'))) {
    throw new AdapterConfigError(`${option} must be a list of texts, a text or null, not ${showValue(pattern)}`);
  }
  if (typeof pattern === 'string') {
    const matches = fullMatch(pattern, option);
    if (!all.some(({ name }) => matches(name))) {
      throw new TargetModulesError(
        `${option}: the regular expression ${JSON.stringify(pattern)} matches no module path as a whole. ${available(all)}`,
      );
    }
    return matches;
  }
  if (strictness === 'every entry') {
    for (const entry of pattern) {
      if (all.some(({ name }) => endsIn(name, entry))) continue;
      const near = nearestName(entry, [...leafNames(all), ...all.map(({ name }) => name)]);
      throw new TargetModulesError(
        `${option}: "${entry}" matches no module.${near ? ` Did you mean "${near}"?` : ''} ${available(all)}`,
      );
    }
  }
  return (name) => pattern.some((entry) => endsIn(name, entry));
}

function layerFilter(
  { layersToTransform = null, layersPattern = null }: TargetOptions,
  all: readonly TargetPlace[],
): (name: string) => boolean {
  if (layersToTransform === null) {
    if ([layersPattern ?? []].flat().length === 0) return () => true;
    throw new AdapterConfigError('layersPattern needs layersToTransform: the layers that it counts.');
  }
  const indices = [layersToTransform].flat();
  if (indices.length === 0) return () => true;
  // What was computed to be -0 was not meant to be the first.
  if (!indices.every((index) => Number.isSafeInteger(index) && index >= 0 && !Object.is(index, -0))) {
    throw new AdapterConfigError(`layersToTransform must be indices of layers, not ${showValue(layersToTransform)}`);
  }
  const patterns = [layersPattern ?? []].flat().filter((pattern) => pattern !== '');
  if (!patterns.every((pattern) => typeof pattern === 'string')) {
    throw new AdapterConfigError(`layersPattern must be a text or a list of texts, not ${showValue(layersPattern)}`);
  }
  const isBlockList =
    patterns.length === 0
      ? [(before: string) => before.includes('.')]
      : patterns.map((pattern) => fullMatch(`(?:.*\\.)?(?:${pattern})`, 'layersPattern'));
  // The first number behind a list of blocks is the block's; a later one may be an expert's. Patterns count in their order.
  const numberBehind = (name: string, isList: (before: string) => boolean): number | undefined => {
    const found = [...name.matchAll(/\.(\d+)(?=\.)/g)].find(({ index }) => isList(name.slice(0, index)));
    return found && Number(found[1]);
  };
  const layerOf = (name: string): number | undefined => {
    for (const isList of isBlockList) {
      const layer = numberBehind(name, isList);
      if (layer !== undefined) return layer;
    }
    return undefined;
  };
  const useless = patterns.find((_, i) => all.every(({ name }) => numberBehind(name, isBlockList[i]!) === undefined));
  if (useless !== undefined) {
    throw new TargetModulesError(`layersPattern ${JSON.stringify(useless)} matches no module path. ${available(all)}`);
  }
  const present = new Set(all.map(({ name }) => layerOf(name)));
  const absent = indices.find((index) => !present.has(index));
  if (absent !== undefined) {
    const numbers = [...present].filter((index) => index !== undefined);
    throw new TargetModulesError(
      numbers.length === 0
        ? `layersToTransform: no module path has the number of a layer. ${available(all)}`
        : `layersToTransform: there is no layer ${absent}; there are ${Math.min(...numbers)} to ${Math.max(...numbers)}.`,
    );
  }
  return (name) => {
    const layer = layerOf(name);
    return layer !== undefined && indices.includes(layer);
  };
}

/**
 * The value of the first pattern that is a module's path, or a dotted ending of it, as a regular expression: PEFT's rule for
 * `rankPattern` and `alphaPattern`.
 *
 * @throws AdapterConfigError
 */
export function patternValue(
  patterns: Readonly<Record<string, number>>,
  option: string,
  module: string,
): number | undefined {
  for (const [pattern, value] of Object.entries(patterns)) if (matchesPattern(pattern, option)(module)) return value;
  return undefined;
}

const matchesPattern = (pattern: string, option: string) => fullMatch(`(?:.*\\.)?(?:${pattern})`, option);

/**
 * Refuses what is no object of patterns and, with `everyEntry`, a pattern that reaches none of the targets: PEFT warns.
 *
 * @throws AdapterConfigError, TargetModulesError naming the pattern
 */
export function checkPatterns(
  patterns: unknown,
  option: string,
  targets: readonly ModuleInfo[],
  everyEntry: boolean,
): void {
  if (typeof patterns !== 'object' || patterns === null || Array.isArray(patterns)) {
    throw new AdapterConfigError(`${option} must be an object of patterns and numbers, not ${showValue(patterns)}`);
  }
  for (const pattern of Object.keys(patterns)) {
    const matches = matchesPattern(pattern, option);
    if (!everyEntry || targets.some(({ name }) => matches(name))) continue;
    const near = nearestName(pattern, [...leafNames(targets), ...targets.map(({ name }) => name)]);
    const advice = near ? ` Did you mean "${near}"?` : '';
    throw new TargetModulesError(
      `${option}: ${JSON.stringify(pattern)} matches none of the modules that the adapter enters.${advice} They end in ${leafNames(targets).join(', ')}.`,
    );
  }
}

/** PEFT's `score` is all layers of the head. */
const withHeadLayers = (entries: readonly string[], all: readonly TargetPlace[]): readonly string[] =>
  entries.flatMap((entry) => {
    if (typeof entry !== 'string') return [entry];
    const layers = all.filter(({ name, kind }) => kind === 'head' && name.startsWith(`${entry}.`));
    return layers.length > 0 ? layers.map(({ name }) => name) : [entry];
  });

const leafNames = (all: readonly TargetPlace[]): string[] => [
  ...new Set(all.map(({ name }) => name.slice(name.lastIndexOf('.') + 1))),
];

const available = (all: readonly TargetPlace[]): string => `The model's modules end in ${leafNames(all).join(', ')}.`;
