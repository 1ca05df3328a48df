import { Key, randomBits, realize, type Tensor, tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { assertKnownOptions, type Given, integer, options, showValue, text } from '@posttrain/interfaces';
import {
  applyLinear,
  type EmbeddingLayer,
  floatWeight,
  type LayerHooks,
  type LinearLayer,
  type LowRankUpdate,
  type ModuleInfo,
} from '@posttrain/lm';
import { assertMethod, assertModel } from './arguments.js';
import { AdapterConfigError, AdapterFileError, TargetModulesError } from './errors.js';
import type { AdaptableModel, AdapterPlan, AdapterReport, PeftAdapter, TaskType } from './peft-adapter.js';
import type { AdapterTarget, PeftConfig, PeftMethod } from './peft-method.js';
import { saveAdapter } from './save-adapter.js';
import { checkPatterns, matchTargets, type TargetMatch } from './targets.js';

const createAdapterOptions = options('createAdapter', {
  /** For the random initial values. Default 0. */
  seed: integer({ default: 0, min: 0 }),
  /** Default `default`. */
  name: text({ default: 'default' }),
});
/** Options of `createAdapter`. */
export type CreateAdapterOptions = Given<typeof createAdapterOptions>;

/** What people call options of methods, beside PEFT's names in snake case, which are near enough. */
const METHOD_OPTION_NAMES = {
  ...{ rank: 'r', lora_r: 'r', loraR: 'r', alpha: 'loraAlpha', dropout: 'loraDropout' },
  ...{ targets: 'targetModules', target: 'targetModules', layers: 'layersToTransform' },
};

/**
 * A new adapter for a model: `await createAdapter(model, lora, { r: 16, targetModules: 'all-linear' })`. The model is
 * not changed; give the adapter to what runs it. The head of a classifier, a reward model or a value model is trained
 * whole, as PEFT does it (`modulesToSave`).
 *
 * @throws TargetModulesError when a pattern matches nothing; AdapterConfigError; OptionError
 */
export async function createAdapter<Config extends PeftConfig>(
  model: AdaptableModel,
  method: PeftMethod<Config>,
  config: Partial<Config> = {},
  given: CreateAdapterOptions = {},
): Promise<PeftAdapter<Config>> {
  assertModel('createAdapter', model);
  assertMethod('createAdapter', method);
  const { adapter, initial } = planAdapter(model, method, config, createAdapterOptions.read(given));
  await realize(Object.values(initial), { engine: model.network.engine });
  const parameters: Record<string, Tensor> = {};
  for (const [name, value] of Object.entries(initial)) {
    // Copied: training may give a parameter away, and a whole module starts as the base's own tensor.
    parameters[name] = tensor(Float32Array.from(await value.data()), value.shape);
  }
  return adapter(parameters);
}

/** The same adapter with other numbers, as training makes them. */
export const withAdapterParameters = <Config extends PeftConfig>(
  adapter: PeftAdapter<Config>,
  parameters: Named,
): PeftAdapter<Config> => ({ ...adapter, parameters });

/** Everything about an adapter but its numbers: `initial` are lazy tensors, of which loading only reads the shapes. */
export function planAdapter<Config extends PeftConfig>(
  model: AdaptableModel,
  method: PeftMethod<Config>,
  given: Partial<Config>,
  { seed = 0, name, file }: { readonly name: string; readonly seed?: number; readonly file?: AdapterFileSize },
): { readonly initial: Named; adapter(parameters: Named): PeftAdapter<Config> } {
  const known = Object.keys(method.defaults);
  const aliases = Object.fromEntries(Object.entries(METHOD_OPTION_NAMES).filter(([, ours]) => known.includes(ours)));
  assertKnownOptions(`createAdapter(${method.peftType})`, given, known, { aliases });
  // Undefined is not given, as in the options of trainers.
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const complete: Config = { ...method.defaults, ...present };
  const asked: Config = file ? complete : { ...complete, modulesToSave: withHead(model, complete) };
  const modules = [...model.network.modules.values()];
  const match = matchTargets(modules, model.config.modelType, asked, file ? 'any entry' : 'every entry');
  const config: Config = { ...asked, targetModules: match.targetModules };
  checkKinds(method, match.matched);
  const targets = match.matched.map((module) => targetOf(model, module));
  for (const option of method.modulePatterns ?? [])
    checkPatterns(config[option as keyof Config], option, match.matched, !file);
  method.check(config, targets);
  checkSize(model, method, config, match.matched, file);
  const plan: AdapterPlan = {
    targets: match.matched,
    saved: match.saved,
    biases: biasesOf(model, config, match),
    carried: carriedWeights(model, config, match.matched),
  };
  const key = Key.fromSeed(seed);
  const initial: Record<string, Tensor> = {};
  for (const target of targets) {
    const index = modules.findIndex((module) => module.name === target.name);
    for (const [local, value] of Object.entries(method.init(target, config, key.child(index)))) {
      initial[`${target.name}.${local}`] = value;
    }
  }
  for (const [module, parameter] of plan.biases) initial[parameter] = model.weights[`${module}.bias`]!;
  for (const module of plan.saved) Object.assign(initial, copiedTensors(model, module));

  const count = (tensors: Named) => Object.values(tensors).reduce((sum, { size }) => sum + size, 0);
  const trainableParameters = count(initial);
  const report: AdapterReport = {
    matched: match.matched.map((module) => module.name),
    skipped: match.skipped,
    trainableParameters,
    totalParameters: model.storage.parameters + trainableParameters,
  };
  const hooksWith = (parameters: Named, dropoutKey?: Tensor) =>
    hooksOf(method, config, plan, parameters, dropoutKey && keysByModule(plan, dropoutKey));
  const hooks = (parameters: Named) => hooksWith(parameters);
  const lowRank = (parameters: Named) => lowRankUpdates(method, config, plan, parameters);
  const isLowRank = lowRank(initial) !== undefined;
  return {
    initial,
    adapter(parameters) {
      const adapter: PeftAdapter<Config> = {
        ...{ name, method, config, plan, report, parameters, baseModel: model.name, taskType: taskTypeOf(model) },
        identity: { peftType: method.peftType, ...config },
        stochastic: method.stochastic?.(config),
        ...{ hooks, trainingHooks: hooksWith },
        ...(isLowRank ? { lowRank: (given) => lowRank(given)! } : {}),
        save: (folder, current) => saveAdapter(folder, withAdapterParameters(adapter, current)),
      };
      return adapter;
    },
  };
}

/** An adapter's file of tensors, as far as its header says. */
export interface AdapterFileSize {
  readonly path: string;
  /** Numbers in all tensors. */
  readonly numbers: number;
}

/** A new adapter may be this many times as large as its model, one of a file as the file; up to `SMALL` anyway. */
const MOST_TIMES = { base: 16, file: 4 };
/** What is smaller costs nothing to make, and gets a message that says more. */
const SMALL = 2 ** 20;

/** Refuses a rank that no file backs, or nobody means, before tensors of it are made. */
function checkSize<Config extends PeftConfig>(
  model: AdaptableModel,
  method: PeftMethod<Config>,
  config: Config,
  targets: readonly ModuleInfo[],
  file: AdapterFileSize | undefined,
): void {
  const { parameters } = method;
  if (!parameters) return;
  const asked = targets.reduce((sum, target) => sum + parameters(target, config), 0);
  if (file && asked > Math.max(MOST_TIMES.file * file.numbers, SMALL)) {
    throw new AdapterFileError(
      file.path,
      `adapter_config.json asks for ${asked} numbers in ${targets.length} modules, but the file has ${file.numbers}: is the rank right?`,
    );
  }
  const most = Math.max(MOST_TIMES.base * model.storage.parameters, SMALL);
  if (!file && asked > most) {
    throw new AdapterConfigError(
      `the adapter would have ${asked} parameters in ${targets.length} modules, where the model has ${model.storage.parameters}: is the rank right?`,
    );
  }
}

const TASK_TYPES = {
  'sequence-classification': 'SEQ_CLS',
  'token-classification': 'TOKEN_CLS',
  // TRL has its value head beside a causal language model, which PEFT sees alone.
  value: 'CAUSAL_LM',
} as const satisfies Record<string, TaskType>;

export const taskTypeOf = ({ config: { head } }: Pick<AdaptableModel, 'config'>): TaskType =>
  head ? TASK_TYPES[head.task] : 'CAUSAL_LM';

/** `modulesToSave` with the model's head, which may be new. */
function withHead({ config: { head } }: AdaptableModel, { modulesToSave }: PeftConfig): PeftConfig['modulesToSave'] {
  return head ? [...new Set([...(modulesToSave ?? []), head.module])] : modulesToSave;
}

/** A module with the base's tensors. A tied head has the embedding's, a quantised layer what its codes stand for. */
export function targetOf(model: AdaptableModel, module: ModuleInfo): AdapterTarget {
  return { ...module, weight: floatWeight(module, model.weights), bias: model.weights[`${module.name}.bias`] };
}

/** The parameters of one module, under their names after the module path. */
export const localParameters = (parameters: Named, module: string): Named =>
  Object.fromEntries(
    Object.entries(parameters)
      .filter(([name]) => name.startsWith(`${module}.`))
      .map(([name, value]) => [name.slice(module.length + 1), value]),
  );

function copiedTensors(model: AdaptableModel, module: ModuleInfo): Named {
  const { weight, bias } = targetOf(model, module);
  return { [`${module.name}.weight`]: weight, ...(bias && { [`${module.name}.bias`]: bias }) };
}

/** Module names for which PEFT puts the base's own weight into the file when they are targets. */
const EMBEDDING_NAMES = ['embed_tokens', 'lm_head'];

/** PEFT's rule for `save_embedding_layers: "auto"`: a list must have one of the bare names, an expression may match. */
function carriedWeights(model: AdaptableModel, { targetModules }: PeftConfig, targets: readonly ModuleInfo[]): Named {
  const named = typeof targetModules === 'string' || EMBEDDING_NAMES.some((name) => targetModules?.includes(name));
  if (!named) return {};
  const carried = targets.filter(({ name }) => EMBEDDING_NAMES.includes(name.slice(name.lastIndexOf('.') + 1)));
  return Object.fromEntries(
    carried.map((module) => [`${module.name}.base_layer.weight`, targetOf(model, module).weight]),
  );
}

function checkKinds(method: PeftMethod, matched: readonly ModuleInfo[]): void {
  const wrong = matched.find(({ kind }) => !method.kinds.includes(kind));
  if (!wrong) return;
  throw new TargetModulesError(
    `${method.peftType} cannot enter ${wrong.name}: it is of kind "${wrong.kind}", and the method takes ${method.kinds.join(', ')}`,
  );
}

/** PEFT saves a target's own bias under `base_layer`, because it wraps the target. */
function biasesOf(model: AdaptableModel, { bias }: PeftConfig, { matched, saved }: TargetMatch): Map<string, string> {
  if (!['none', 'all', 'lora_only'].includes(bias)) {
    throw new AdapterConfigError(`bias ${showValue(bias)}: there are "none", "all" and "lora_only"`);
  }
  const targets = new Set(matched.map(({ name }) => name));
  const whole = new Set(saved.map(({ name }) => name));
  const biases = new Map<string, string>();
  if (bias === 'none') return biases;
  for (const name of Object.keys(model.weights)) {
    const module = /^(.*)\.bias$/.exec(name)?.[1];
    if (module === undefined || whole.has(module)) continue;
    if (targets.has(module)) biases.set(module, `${module}.base_layer.bias`);
    else if (bias === 'all') {
      if (model.network.modules.get(module)?.kind !== 'linear') {
        throw new AdapterConfigError(`bias "all": ${name} belongs to no linear layer, which is not supported`);
      }
      biases.set(module, name);
    }
  }
  return biases;
}

/** A key per target from the step's key, so that no two modules drop the same elements. */
function keysByModule({ targets }: AdapterPlan, key: Tensor): ReadonlyMap<string, Tensor> {
  const bits = randomBits(key, [targets.length, 2]);
  return new Map(targets.map(({ name }, i) => [name, bits.slice(0, i, i + 1).reshape([2])]));
}

/** The whole adapter as low-rank updates; undefined where it is more than that. */
function lowRankUpdates<Config extends PeftConfig>(
  method: PeftMethod<Config>,
  config: Config,
  { targets, saved, biases }: AdapterPlan,
  parameters: Named,
): Readonly<Record<string, LowRankUpdate>> | undefined {
  if (saved.length > 0 || biases.size > 0) return undefined;
  const updates: Record<string, LowRankUpdate> = {};
  for (const target of targets) {
    const update = method.lowRank?.(target, localParameters(parameters, target.name), config);
    if (!update) return undefined;
    updates[target.name] = update;
  }
  return updates;
}

function hooksOf<Config extends PeftConfig>(
  method: PeftMethod<Config>,
  config: Config,
  { targets, saved, biases }: AdapterPlan,
  parameters: Named,
  dropoutKeys?: ReadonlyMap<string, Tensor>,
): LayerHooks {
  const ofTarget = new Map(targets.map(({ name }) => [name, localParameters(parameters, name)]));
  const whole = new Set(saved.map(({ name }) => name));
  const own = (module: string, tensor: 'weight' | 'bias') => parameters[`${module}.${tensor}`];

  const withBias = (layer: LinearLayer): LinearLayer => {
    const name = biases.get(layer.name);
    if (name === undefined) return layer;
    const bias = parameters[name]!;
    return { ...layer, bias, apply: (x) => applyLinear(x, layer.weight, bias, layer.transposed) };
  };

  return {
    linear(x: Tensor, base: LinearLayer) {
      if (whole.has(base.name)) {
        return applyLinear(x, own(base.name, 'weight')!, own(base.name, 'bias'), base.transposed);
      }
      const layer = withBias(base);
      const local = ofTarget.get(base.name);
      return local ? method.apply(x, layer, local, config, dropoutKeys?.get(base.name)) : layer.apply(x);
    },
    embedding(tokens: Tensor, layer: EmbeddingLayer) {
      if (whole.has(layer.name)) return own(layer.name, 'weight')!.gather(tokens);
      const local = ofTarget.get(layer.name);
      return local && method.embed ? method.embed(tokens, layer, local, config) : layer.apply(tokens);
    },
    headWeight(layer) {
      if (whole.has(layer.name)) return own(layer.name, 'weight')!;
      const local = ofTarget.get(layer.name);
      return local ? method.merge(layer, local, config).weight : layer.weight;
    },
  };
}
