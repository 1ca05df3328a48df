import { randomBits, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { showValue } from '@posttrain/interfaces';
import type {
  EmbeddingLayer,
  LayerHooks,
  LinearLayer,
  LowRankUpdate,
  ModuleInfo,
  NormInfo,
  WeightedNetwork,
} from '@posttrain/lm';
import { targetOf } from './adapter-target.js';
import { AdapterConfigError, TargetModulesError } from './errors.js';
import { type FusedMember, type FusedParameter, matchParameters, refuseOverlap } from './fused-parameters.js';
import type { LayerMethod, MergedTarget, PreparedTarget, TargetedConfig } from './layer-method.js';
import type { AdaptableModel, AdapterPlan } from './peft-adapter.js';
import type { AdapterTensors, MethodContext, PeftMethod, PlannedAdapter } from './peft-method.js';
import { checkPatterns, matchSaved, matchSavedNorms, matchTargets, type TargetMatch } from './targets.js';
import { matchTokens } from './trainable-tokens.js';
import { tieWeights } from './weight-tying.js';

const lifted = new WeakMap<object, unknown>();

/** A method that changes modules one by one, as a `PeftMethod`: the same object for the same method. */
export function perLayer<Config extends TargetedConfig>(method: LayerMethod<Config>): PeftMethod<Config> {
  const known = lifted.get(method) ?? lift(method);
  lifted.set(method, known);
  return known as PeftMethod<Config>;
}

/** A method in the general form, whichever it has. */
export const asPeftMethod = (method: PeftMethod | LayerMethod): PeftMethod =>
  'apply' in method ? perLayer(method) : method;

function lift<Config extends TargetedConfig>(method: LayerMethod<Config>): PeftMethod<Config> {
  type Context = MethodContext<Config>;
  const { peftType, options, fileDefaults, parameters, prepare, stochastic, changesBase, penalty, optimizer } = method;
  const { checkFile, checkFrozen, frozenInFile, merge, unmerge, cannotMerge, rowInputs, fileConfig, toFile } = method;
  const allOf = ({ trained, frozen }: AdapterTensors, { name, fused }: Entered): Named => ({
    ...sharedOf(frozen),
    ...localTensors(frozen, name),
    ...(fused
      ? method.fused!.ofMember(fused.parameter, fused.member, localTensors(trained, fused.parameter.place))
      : localTensors(trained, name)),
  });

  return {
    ...{ peftType, options, fileDefaults },
    ...(stochastic && { stochastic }),
    ...(changesBase && { changesBase }),
    ...(penalty && { penalty }),
    ...(optimizer && { optimizer }),
    ...(checkFile && { checkFile }),
    ...(rowInputs && { rowInputs }),
    ...(cannotMerge && { cannotMerge }),
    ...(frozenInFile && { frozenInFile }),
    ...(fileConfig && { fileConfig }),
    ...(toFile && {
      toFile({ config, plan }: Context, tensors: AdapterTensors) {
        if (!fileConfig?.(config)) return undefined;
        const stored: Record<string, Tensor> = {};
        for (const target of plan.targets) {
          const own = toFile(target, allOf(tensors, target), config);
          for (const [local, value] of Object.entries(own)) stored[`${target.name}.${local}`] = value;
        }
        return stored;
      },
    }),
    ...(checkFrozen && {
      async fromFile({ config, plan }: Context, stored: Named, made: AdapterTensors) {
        const of = (tensors: Named): Named =>
          Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, stored[name] ?? value]));
        const tensors = { trained: of(made.trained), frozen: of(made.frozen) };
        for (const target of plan.targets) await checkFrozen(target, localTensors(tensors.frozen, target.name), config);
        return tensors;
      },
    }),
    ...(method.fanInFanOut !== false && {
      factNames: ['fan_in_fan_out'],
      facts({ plan: { targets } }: Context) {
        const linear = targets.filter(({ kind }) => kind === 'linear');
        return { fan_in_fan_out: linear.length > 0 && linear.every(({ transposed }) => transposed) };
      },
    }),
    fileKey: (name) => (isShared(name) ? `base_model.${name}` : `base_model.model.${name}`),

    async plan(model, given, strictness, data) {
      const planned = planOf(method, model, given, strictness);
      const base = planned.plan.targets.map((module) => targetOf(model, module));
      const start = data && (await method.fromRows?.({ base: model, targets: base, config: planned.config, ...data }));
      if (!start) return planned;
      const again = planOf(method, model, start.config, strictness);
      return { ...again, prepared: preparedOf(start.tensors) };
    },

    ...(parameters && {
      parameters: ({ config, plan }: Context) =>
        plan.targets.reduce(
          (sum, target) => sum + parameters(target, config),
          (method.sharedParameters?.(plan.targets, config) ?? 0) +
            (plan.fused ?? []).reduce((sum, one) => sum + one.experts * parameters(one, config), 0),
        ),
    }),

    ...(prepare && {
      async prepare({ config, plan, base, key, isLoaded }) {
        const names = [...base.network.modules.keys()];
        const prepared = new Map<string, PreparedTarget>();
        for (const module of plan.targets) {
          const how = { key: key.child(names.indexOf(module.name)), isLoaded };
          prepared.set(module.name, (await prepare(targetOf(base, module), config, how)) ?? {});
        }
        return preparedOf(prepared);
      },
    }),

    init({ config, plan }, base, key, prepared) {
      const names = [...base.network.modules.keys()];
      const trained: Record<string, Tensor> = {};
      for (const module of plan.targets) {
        const own = method.init(targetOf(base, module), config, key.child(names.indexOf(module.name)));
        for (const [local, value] of Object.entries(own)) trained[`${module.name}.${local}`] = value;
      }
      for (const [i, parameter] of (plan.fused ?? []).entries()) {
        const own = method.fused!.init(parameter, config, key.child(names.length + 1 + i));
        for (const [local, value] of Object.entries(own)) trained[`${parameter.place}.${local}`] = value;
      }
      const given = (kind: string) =>
        Object.fromEntries(
          Object.entries(prepared)
            .filter(([name]) => name.startsWith(`${kind} `))
            .map(([name, value]) => [name.slice(kind.length + 1), value]),
        );
      // The modules have the keys below their number.
      const shared = method.shared?.(plan.targets, config, key.child(names.length)) ?? {};
      return { trained: { ...trained, ...given('trained') }, frozen: { ...shared, ...given('frozen') } };
    },

    hooks({ config, plan }, tensors, dropoutKey): LayerHooks {
      const ofTarget = new Map(enteredBy(plan).map((one) => [one.name, allOf(tensors, one)]));
      const named = namesIn(plan);
      const dropoutKeys = dropoutKey && keysByModule(plan, dropoutKey);
      return {
        linear(x: Tensor, layer: LinearLayer) {
          const local = ofTarget.get(layer.name);
          if (!local) return layer.apply(x);
          return method.apply(x, named(layer), local, config, dropoutKeys?.get(layer.name));
        },
        embedding(tokens: Tensor, layer: EmbeddingLayer) {
          const local = ofTarget.get(layer.name);
          return local && method.embed ? method.embed(tokens, layer, local, config) : layer.apply(tokens);
        },
        headWeight(layer) {
          const follows = plan.tied?.by === 'targetModules' && plan.tied.head.name === layer.name;
          const { name } = follows ? plan.tied!.embedding : layer;
          const local = ofTarget.get(name);
          // One that follows its embedding is the embedding, of the weight that both have.
          const entered = follows ? { ...plan.tied!.embedding, weight: layer.weight } : layer;
          return local && merge ? merge(entered, local, config).weight : layer.weight;
        },
      };
    },

    lowRank({ config, plan }, tensors) {
      const updates: Record<string, LowRankUpdate> = {};
      const named = namesIn(plan);
      for (const target of enteredBy(plan)) {
        const update = method.lowRank?.(named(target), allOf(tensors, target), config);
        if (!update) return undefined;
        updates[target.name] = update;
      }
      return updates;
    },

    ...(method.derive && {
      derive({ config, plan }: Context, tensors: AdapterTensors, base: WeightedNetwork) {
        const own = enteredBy(plan).flatMap((module) =>
          Object.entries(method.derive!(targetOf(base, module), allOf(tensors, module), config)).map(
            ([local, value]) => [`${module.name}.${local}`, value] as const,
          ),
        );
        return Object.fromEntries(own);
      },
    }),

    ...(merge && {
      merge({ config, plan }: Context, tensors: AdapterTensors, base: AdaptableModel) {
        const changed: Record<string, Tensor> = {};
        const named = namesIn(plan);
        for (const module of enteredBy(plan)) {
          put(changed, module.name, merge(named(targetOf(base, module)), allOf(tensors, module), config));
        }
        return changed;
      },
    }),

    ...(unmerge && {
      unmerge({ config, plan }: Context, tensors: AdapterTensors, merged: AdaptableModel) {
        const changed: Record<string, Tensor> = {};
        const named = namesIn(plan);
        for (const module of enteredBy(plan)) {
          put(changed, module.name, unmerge(named(targetOf(merged, module)), allOf(tensors, module), config));
        }
        return changed;
      },
    }),
  };
}

/** The modules that a configuration means, with all that the method refuses. */
function planOf<Config extends TargetedConfig>(
  method: LayerMethod<Config>,
  model: AdaptableModel,
  given: Config,
  strictness: 'every entry' | 'any entry',
): PlannedAdapter<Config> {
  const modules = [...model.network.modules.values()];
  const { modelType } = model.config;
  const complete = method.complete?.(given, modelType) ?? given;
  const tying = complete.ensureWeightTying ? tieWeights(method, model, complete, strictness) : undefined;
  const asked = tying?.config ?? complete;
  const fused = matchParameters(modules, asked.targetParameters ?? [], strictness);
  const savedNorms = matchSavedNorms(model.network.norms.values(), asked.modulesToSave ?? null);
  const savedModules = withoutNorms(asked.modulesToSave ?? null, modules, savedNorms);
  const beside = { ...asked, modulesToSave: savedModules };
  const tiedHead = tying?.tied.head;
  const match = targetsBeside(fused, modules, beside, () => {
    const all = matchTargets(modules, modelType, beside, strictness, method.defaultTargets);
    const matched = all.matched.filter((module) => module !== tiedHead);
    return { ...all, matched, saved: all.saved.filter((module) => module !== tiedHead) };
  });
  const config: Config = { ...asked, targetModules: match.targetModules };
  if (fused.length > 0) method.fused?.check(config);
  refuseOverlap(fused, [...match.matched, ...match.saved]);
  checkKinds(method, match.matched);
  for (const option of method.modulePatterns ?? []) {
    checkPatterns(config[option as keyof Config], option, [...match.matched, ...fused], strictness === 'every entry');
  }
  method.check?.(
    config,
    match.matched.map((module) => targetOf(model, module)),
  );
  const plan: AdapterPlan = {
    targets: match.matched,
    ...(fused.length > 0 && { fused }),
    ...(savedNorms.length > 0 && { savedNorms }),
    ...(tying && { tied: tying.tied }),
    ...(asked.trainableTokenIndices && {
      tokens: matchTokens(model, asked.trainableTokenIndices, [...match.matched, ...match.saved], asked),
    }),
    norms: [],
    saved: match.saved,
    biases: biasesOf(
      model,
      config,
      { ...match, saved: [...match.saved, ...savedNorms] },
      method.targetBiases ?? 'lora_only',
    ),
    carried: carriedWeights(model, config, [
      ...match.matched,
      ...(tying?.tied.by === 'targetModules' ? [tying.tied.head] : []),
    ]),
  };
  const entered = new Set(enteredBy(plan).map(({ name }) => name));
  return { config, plan, skipped: match.skipped.filter(({ name }) => !entered.has(name)) };
}

/** Entries of `modulesToSave` but those that mean normalisations and nothing else. */
function withoutNorms(
  entries: readonly string[] | null,
  modules: readonly ModuleInfo[],
  norms: readonly NormInfo[],
): readonly string[] | null {
  const isOf = (entry: string, places: readonly { readonly name: string }[]) =>
    places.some(({ name }) => name.endsWith(entry));
  return entries?.filter((entry) => !isOf(entry, norms) || isOf(entry, modules)) ?? null;
}

/** A module that a method enters, by itself or as a part of a parameter. */
type Entered = ModuleInfo & {
  readonly fused?: { readonly parameter: FusedParameter; readonly member: FusedMember };
};

const enteredBy = ({ targets, fused = [] }: AdapterPlan): readonly Entered[] => [
  ...targets,
  ...fused.flatMap((parameter) =>
    parameter.members.map((member) => ({ ...member.module, fused: { parameter, member } })),
  ),
];

/** A module under the name that options by module know it by: members of a parameter have the parameter's. */
function namesIn({ fused = [] }: AdapterPlan): <Module extends ModuleInfo>(module: Module) => Module {
  const names = new Map(fused.flatMap(({ name, members }) => members.map(({ module }) => [module.name, name])));
  return (module) => {
    const name = names.get(module.name);
    return name === undefined ? module : { ...module, name };
  };
}

/** As in PEFT, parameters may be all that is targeted: without `targetModules`, or with an empty list of them. */
function targetsBeside(
  fused: readonly FusedParameter[],
  modules: readonly ModuleInfo[],
  { targetModules, modulesToSave = null }: TargetedConfig,
  matched: () => TargetMatch,
): TargetMatch {
  if (fused.length === 0 || (targetModules !== null && targetModules.length > 0)) return matched();
  const saved = matchSaved(modules, { modulesToSave }, 'any entry');
  const isSaved = new Set(saved.map(({ name }) => name));
  const skipped = modules.map(({ name }) => {
    return { name, reason: isSaved.has(name) ? ('in modulesToSave' as const) : ('not targeted' as const) };
  });
  return { matched: [], skipped, saved, targetModules: [] };
}

/** Initial tensors by module under names that say whether they are trained, which `init` takes apart. */
function preparedOf(targets: ReadonlyMap<string, PreparedTarget>): Named {
  const prepared: Record<string, Tensor> = {};
  for (const [module, { trained = {}, frozen = {} }] of targets) {
    for (const [local, value] of Object.entries(trained)) prepared[`trained ${module}.${local}`] = value;
    for (const [local, value] of Object.entries(frozen)) prepared[`frozen ${module}.${local}`] = value;
  }
  return prepared;
}

/** Shared tensors have no module path. */
const isShared = (name: string): boolean => !name.includes('.');

const sharedOf = (tensors: Named): Named =>
  Object.fromEntries(Object.entries(tensors).filter(([name]) => isShared(name)));

/** The tensors of one module, under their names after the module path. */
const localTensors = (tensors: Named, module: string): Named =>
  Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith(`${module}.`))
      .map(([name, value]) => [name.slice(module.length + 1), value]),
  );

function put(weights: Record<string, Tensor>, module: string, { weight, bias }: MergedTarget): void {
  weights[`${module}.weight`] = weight;
  if (bias) weights[`${module}.bias`] = bias;
}

function checkKinds(method: Pick<LayerMethod, 'peftType' | 'kinds' | 'conv1d'>, matched: readonly ModuleInfo[]): void {
  const stored = method.conv1d === false && matched.find(({ kind, transposed }) => kind === 'linear' && transposed);
  if (stored) {
    throw new AdapterConfigError(`${stored.name} is a Conv1D, which ${method.peftType} does not enter, as in PEFT`);
  }
  const wrong = matched.find(({ kind }) => !method.kinds.includes(kind));
  if (!wrong) return;
  throw new TargetModulesError(
    `${method.peftType} cannot enter ${wrong.name}: it is of kind "${wrong.kind}", and the method takes ${method.kinds.join(', ')}`,
  );
}

/** Module names for which PEFT puts the base's own weight into the file when they are targets. */
const EMBEDDING_NAMES = ['embed_tokens', 'lm_head'];

/** PEFT's rule for `save_embedding_layers: "auto"`: a list must have one of the bare names, an expression may match. */
function carriedWeights(
  model: AdaptableModel,
  { targetModules }: TargetedConfig,
  targets: readonly ModuleInfo[],
): Named {
  const named = typeof targetModules === 'string' || EMBEDDING_NAMES.some((name) => targetModules?.includes(name));
  if (!named) return {};
  const carried = targets.filter(({ name }) => EMBEDDING_NAMES.includes(name.slice(name.lastIndexOf('.') + 1)));
  return Object.fromEntries(
    carried.map((module) => [`${module.name}.base_layer.weight`, targetOf(model, module).weight]),
  );
}

/** PEFT saves a target's own bias under `base_layer`, because it wraps the target. */
function biasesOf(
  model: AdaptableModel,
  { bias = 'none' }: TargetedConfig,
  { matched, saved }: Pick<TargetMatch, 'matched'> & { readonly saved: readonly { readonly name: string }[] },
  targetBiases: string,
): Map<string, string> {
  if (!['none', 'all', targetBiases].includes(bias)) {
    throw new AdapterConfigError(`bias ${showValue(bias)}: there are "none", "all" and "${targetBiases}"`);
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
