import { nearestName } from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError, TargetModulesError } from './errors.js';

/** A linear layer whose weight is a part of a fused parameter. */
export interface FusedMember {
  readonly module: ModuleInfo;
  /** Its place in the first dimension. */
  readonly expert: number;
  /** Where its outputs begin among those of the parameter: gate and up projections stand one behind the other. */
  readonly from: number;
}

/**
 * A parameter of transformers that PEFT targets as one (`target_parameters`): the weights of all experts of a layer, [experts, out, in],
 * which are modules of their own here, or the weight of a router. As a module it is one of its members' kind and `outFeatures` long.
 */
export interface FusedParameter extends ModuleInfo {
  /** Path of the module that PEFT's tensors are named after. */
  readonly place: string;
  readonly experts: number;
  readonly members: readonly FusedMember[];
}

const EXPERT = /^(.*)\.(block_sparse_moe|mlp)\.experts\.(\d+)\.(\w+)$/;
const ROUTER = /^(.*)\.(?:block_sparse_moe|mlp)\.gate$/;
/** The parameter of transformers that a checkpoint's projection of an expert is a part of, in the order of its parts. */
const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  gate_up_proj: ['gate_proj', 'w1', 'up_proj', 'w3'],
  down_proj: ['down_proj', 'w2'],
};

/**
 * The parameters that `targetParameters` means, by PEFT's rule: a whole path or a dotted ending of it, as transformers names them. Of several
 * of one module all but the last have `base_layer` in their place, since PEFT wraps one in the other.
 *
 * @throws TargetModulesError for an entry that means nothing; AdapterConfigError for what is not a list of texts
 */
export function matchParameters(
  modules: Iterable<ModuleInfo>,
  entries: readonly string[],
  strictness: 'every entry' | 'any entry',
): readonly FusedParameter[] {
  const all = fusedParameters(modules);
  const means = (entry: string, { name }: FusedParameter) => name === entry || name.endsWith(`.${entry}`);
  const unmatched = entries.filter((entry) => !all.some((parameter) => means(entry, parameter)));
  const matched = all.filter((parameter) => entries.some((entry) => means(entry, parameter)));
  const wrong = strictness === 'every entry' || matched.length === 0 ? unmatched[0] : undefined;
  if (wrong !== undefined) {
    const names = [...new Set(all.map(({ name }) => name.split('.').slice(-2).join('.')))];
    const near = nearestName(wrong, names);
    throw new TargetModulesError(
      all.length === 0
        ? `targetParameters: the model has no weights of experts, so "${wrong}" is none; name linear layers in targetModules`
        : `targetParameters: "${wrong}" is no weight of experts or of a router.${near ? ` Did you mean "${near}"?` : ''} They end in ${names.join(', ')}.`,
    );
  }
  return matched.map((parameter) => {
    const outer = matched.slice(matched.indexOf(parameter) + 1).filter(({ place }) => place === parameter.place);
    return { ...parameter, place: parameter.place + '.base_layer'.repeat(outer.length) };
  });
}

/** All of a model, in the order of transformers' modules. */
function fusedParameters(modules: Iterable<ModuleInfo>): readonly FusedParameter[] {
  const parts = new Map<string, { place: string; members: { module: ModuleInfo; expert: number; part: number }[] }>();
  const put = (name: string, member: { module: ModuleInfo; expert: number; part: number }) => {
    const place = name.slice(0, name.lastIndexOf('.'));
    const known = parts.get(name) ?? { place, members: [] };
    parts.set(name, known);
    known.members.push(member);
  };
  for (const module of modules) {
    const router = module.kind === 'router' ? ROUTER.exec(module.name) : null;
    if (router) put(`${router[1]}.mlp.gate.weight`, { module, expert: 0, part: 0 });
    const [, block, stored, expert, projection] = EXPERT.exec(module.name) ?? [];
    const parameter = Object.entries(PARAMETERS).find(([, names]) => names.includes(projection ?? ''));
    if (!parameter) continue;
    const [name, names] = parameter;
    // Of Mixtral's names, transformers 5 has kept no part.
    const place = projection!.startsWith('w') ? 'mlp' : stored;
    put(`${block}.${place}.experts.${name}`, { module, expert: Number(expert), part: names.indexOf(projection!) });
  }
  return [...parts].map(([name, { place, members }]) => {
    const sorted = members.toSorted((a, b) => a.expert - b.expert || a.part - b.part);
    const { module } = sorted[0]!;
    const ofFirst = sorted.filter(({ expert }) => expert === 0).length;
    return {
      ...module,
      ...{ name, place, experts: sorted.length / ofFirst, outFeatures: ofFirst * module.outFeatures },
      members: sorted.map((member, i) => ({ ...member, from: (i % ofFirst) * module.outFeatures })),
    };
  });
}

/** Model types whose experts are one parameter a layer in transformers 5, of which PEFT knows it. */
const MIXTURES: readonly string[] = ['mixtral', 'qwen3_moe', 'olmoe'];
/** Model types whose parameters of experts or routers are others than `fusedParameters` says. */
const OTHERWISE_FUSED: readonly string[] = ['gpt_oss', 'phimoe', 'granitemoe'];
/** Model types of which PEFT takes the names of other MLPs for those of experts. */
const UNEVEN: readonly string[] = ['deepseek_v2', 'deepseek_v3'];
const ATTENTION = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];

/** What `allLinearOfMixture` reads and writes. */
interface MixtureConfig {
  readonly targetModules: readonly string[] | string | null;
  readonly targetParameters: readonly string[] | null;
  readonly r: number;
  readonly loraAlpha: number;
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
}

/**
 * `'all-linear'` of a mixture of experts as PEFT writes it out for LoRA: the attention's layers, and the experts and routers as parameters; gate and up
 * projections, which are one, have twice the rank and twice the alpha.
 */
export function allLinearOfMixture<Config extends MixtureConfig>(config: Config, modelType: string): Config {
  const { targetModules, targetParameters, r, loraAlpha, rankPattern, alphaPattern } = config;
  const isAll = typeof targetModules === 'string' && targetModules.toLowerCase() === 'all-linear';
  if ((targetParameters ?? []).length > 0 && OTHERWISE_FUSED.includes(modelType)) {
    throw new AdapterConfigError(
      `targetParameters is not known for ${modelType}, whose experts and routers PEFT has in another order or under other names. Name linear layers in targetModules.`,
    );
  }
  if (isAll && UNEVEN.includes(modelType)) {
    throw new AdapterConfigError(
      `targetModules "all-linear" is not known for ${modelType}: of it, PEFT enters the experts and not the MLPs beside them. Name the layers.`,
    );
  }
  if (!isAll || !MIXTURES.includes(modelType)) return config;
  const both = String.raw`.*\.gate_up_proj`;
  return {
    ...config,
    targetModules: ATTENTION,
    targetParameters: [...new Set([...(targetParameters ?? []), 'gate.weight', ...Object.keys(PARAMETERS)])],
    rankPattern: { ...rankPattern, [both]: 2 * r },
    alphaPattern: { ...alphaPattern, [both]: 2 * loraAlpha },
  };
}

/** Refuses modules that would be entered twice. @throws AdapterConfigError */
export function refuseOverlap(parameters: readonly FusedParameter[], others: readonly ModuleInfo[]): void {
  const names = new Set(others.map(({ name }) => name));
  for (const { name, members } of parameters) {
    const twice = members.find(({ module }) => names.has(module.name));
    if (!twice) continue;
    throw new AdapterConfigError(
      `${name} of targetParameters has the weight of ${twice.module.name}, which targetModules or modulesToSave has already`,
    );
  }
}
