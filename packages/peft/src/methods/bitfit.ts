import type { Tensor } from '@posttrain/core-tensor';
import type { Read } from '@posttrain/interfaces';
import type { NormLayer } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { excludeOption, methodOptions, targetOptions } from '../adapters/method-options.js';
import { NO_PLAN } from '../adapters/peft-adapter.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { matchSaved, matchTargets } from '../adapters/targets.js';

const bitFitOptions = methodOptions('BITFIT', {
  ...targetOptions,
  ...excludeOption,
  /** Whose biases are trained, by path, dotted ending or regular expression. Default: null, all of them. */
  targetModules: targetOptions.targetModules,
});
/** Options of `bitFit`, complete. */
export type BitFitConfig = Read<typeof bitFitOptions>;

const ALL = '.*';

/**
 * BitFit (arXiv 2106.10199): the biases of linear layers and normalisations are trained, as copies, and nothing else:
 * y = W x + b′. PEFT has no such method but as `bias: 'all'` of LoRA; the files are this package's own.
 */
export const bitFit: PeftMethod<BitFitConfig> = {
  peftType: 'BITFIT',
  options: bitFitOptions,
  fileDefaults: {},

  plan(model, given, strictness) {
    const { network, weights, config: modelConfig } = model;
    const linear = [...network.modules.values()].filter(
      ({ kind, name }) => kind === 'linear' && `${name}.bias` in weights,
    );
    const norms = [...network.norms.values()].filter(({ hasBias }) => hasBias);
    if (linear.length + norms.length === 0) {
      throw new AdapterConfigError(`BitFit trains biases, and ${modelConfig.modelType} has none here`);
    }
    const asked = { ...given, targetModules: given.targetModules ?? ALL, modulesToSave: null };
    const places = [...linear.map(({ name }) => ({ name })), ...norms.map(({ name }) => ({ name }))];
    const match = matchTargets(places, modelConfig.modelType, asked, strictness);
    const names = new Set(match.matched.map(({ name }) => name));
    const targets = linear.filter(({ name }) => names.has(name));
    const plan = {
      ...NO_PLAN,
      targets,
      norms: norms.filter(({ name }) => names.has(name)),
      biases: new Map(targets.map(({ name }) => [name, `${name}.bias`])),
      saved: matchSaved(network.modules.values(), given, strictness),
    };
    const twice = plan.saved.find(({ name }) => names.has(name));
    if (twice)
      throw new AdapterConfigError(`${twice.name} is in modulesToSave, so its bias is trained already: exclude it`);
    return { config: { ...given, targetModules: match.targetModules }, plan, skipped: match.skipped };
  },

  // Those of the linear layers are the plan's.
  init({ plan }, base) {
    const trained: Record<string, Tensor> = {};
    for (const { name } of plan.norms) trained[`${name}.bias`] = base.weights[`${name}.bias`]!;
    return { trained, frozen: {} };
  },

  hooks: (_, { trained }) => ({
    norm(x: Tensor, layer: NormLayer) {
      const bias = trained[`${layer.name}.bias`];
      return bias ? layer.apply(x, { weight: layer.weight, bias }) : layer.apply(x);
    },
  }),

  merge: ({ plan }, { trained }) =>
    Object.fromEntries(plan.norms.map(({ name }) => [`${name}.bias`, trained[`${name}.bias`]!])),
};
