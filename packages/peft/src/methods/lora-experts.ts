import type { Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { custom } from '@posttrain/interfaces';
import type { LowRankUpdate, ModelConfig } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { orNull } from '../adapters/method-options.js';
import { type AdaptableModel, type AdapterPlan, NO_PLAN, type PeftAdapter } from '../adapters/peft-adapter.js';
import type { PlannedAdapter } from '../adapters/peft-method.js';
import { readAdapter } from '../adapters/read-adapter.js';
import { lora } from './lora.js';

// What methods have in common that mix LoRA adapters from folders, which stay as they are.

const isFolders = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.values(value).every((folder) => typeof folder === 'string');

export const expertOptions = {
  /** Folders of the LoRA adapters that are mixed, by name; PEFT mixes those that are called "0", "1", … It must be given. */
  adapters: orNull(
    custom<Readonly<Record<string, string>>>()('folders of adapters by name', isFolders, { default: {} }),
  ),
};

/** The experts of a method, and the modules that any of them enters. @throws AdapterConfigError */
export async function expertsPlan<Config extends { readonly adapters: Readonly<Record<string, string>> | null }>(
  model: AdaptableModel,
  config: Config,
): Promise<PlannedAdapter<Config>> {
  const folders = Object.entries(config.adapters ?? {});
  if (folders.length === 0) throw new AdapterConfigError('adapters must be given: folders of LoRA adapters by name');
  const experts: PeftAdapter[] = [];
  for (const [name, folder] of folders) {
    const expert = await readAdapter(model, folder, { methods: [lora], name });
    if (!expert.lowRank) throw new AdapterConfigError(`${folder} does more than add B A x to linear layers`);
    experts.push(expert);
  }
  const entered = new Set(experts.flatMap(({ plan }) => plan.targets.map(({ name }) => name)));
  const modules = [...model.network.modules.values()];
  return {
    config,
    plan: { ...NO_PLAN, experts, targets: modules.filter(({ name }) => entered.has(name)) },
    skipped: modules.filter(({ name }) => !entered.has(name)).map(({ name }) => ({ name, reason: 'not targeted' })),
  };
}

export const expertsOf = ({ experts = [] }: AdapterPlan): readonly PeftAdapter[] => experts;

/** The tensors of all experts, frozen, under their places. */
export const frozenExperts = (plan: AdapterPlan): Named =>
  Object.fromEntries(
    expertsOf(plan).flatMap((expert, i) =>
      Object.entries({ ...expert.parameters, ...expert.frozen }).map(([name, value]) => [`${i}.${name}`, value]),
    ),
  );

/** What each expert adds, by module. */
export const expertUpdates = (
  { plan, model }: { readonly plan: AdapterPlan; readonly model: ModelConfig },
  frozen: Named,
): readonly Readonly<Record<string, LowRankUpdate>>[] =>
  expertsOf(plan).map(({ method, config, plan: own, parameters, frozen: known }, i) => {
    const of = (names: Named) =>
      Object.fromEntries(Object.keys(names).map((name): [string, Tensor] => [name, frozen[`${i}.${name}`]!]));
    return method.lowRank!({ config, plan: own, model }, { trained: of(parameters), frozen: of(known) })!;
  });
