import type { Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import type { Read } from '@posttrain/interfaces';
import type { NormInfo, NormLayer } from '@posttrain/lm';
import { excludeOption, methodOptions, targetOptions } from '../adapters/method-options.js';
import { NO_PLAN } from '../adapters/peft-adapter.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { matchSaved, matchTargets } from '../adapters/targets.js';

const lnTuningOptions = methodOptions('LN_TUNING', {
  ...targetOptions,
  ...excludeOption,
  /** Normalisations to train, by path, dotted ending or regular expression. Default: null, PEFT's of the model type. */
  targetModules: targetOptions.targetModules,
});
/** Options of `lnTuning`, complete, by PEFT's names in camel case. */
export type LnTuningConfig = Read<typeof lnTuningOptions>;

const PRE_NORM = ['input_layernorm', 'post_attention_layernorm', 'norm'];
const GEMMA = [
  ...['input_layernorm', 'post_attention_layernorm'],
  ...['pre_feedforward_layernorm', 'post_feedforward_layernorm', 'norm'],
];

/** PEFT's defaults per `model_type` (TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING, PEFT 0.21). */
const DEFAULTS: Readonly<Record<string, readonly string[]>> = {
  gemma2: GEMMA,
  gemma3_text: GEMMA,
  gpt2: ['ln_1', 'ln_2', 'ln_f'],
  llama: PRE_NORM,
  mistral: PRE_NORM,
  qwen2: ['post_attention_layernorm'],
  qwen3: ['post_attention_layernorm'],
  gemma: PRE_NORM,
  phi: ['input_layernorm', 'final_layernorm'],
  falcon: ['input_layernorm', 'post_attention_layernorm', 'ln_f'],
  bloom: ['input_layernorm', 'post_attention_layernorm', 'ln_f'],
};

/**
 * LN-tuning (arXiv 2312.11420): the weights (and biases) of normalisations are trained, as copies, and nothing else:
 * y = norm(x) ⊙ w′ + b′.
 */
export const lnTuning: PeftMethod<LnTuningConfig> = {
  peftType: 'LN_TUNING',
  options: lnTuningOptions,
  fileDefaults: {},

  plan(model, given, strictness) {
    const norms = [...model.network.norms.values()];
    const asked = { ...given, modulesToSave: null };
    const match = matchTargets(norms, model.config.modelType, asked, strictness, DEFAULTS);
    const saved = matchSaved(model.network.modules.values(), given, strictness);
    const config = { ...given, targetModules: match.targetModules };
    return { config, plan: { ...NO_PLAN, norms: match.matched, saved }, skipped: match.skipped };
  },

  init({ plan }, base) {
    const trained: Record<string, Tensor> = {};
    for (const norm of plan.norms) {
      for (const tensor of tensorsOf(norm)) trained[keyOf(norm, tensor)] = base.weights[`${norm.name}.${tensor}`]!;
    }
    return { trained, frozen: {} };
  },

  hooks({ plan }, { trained }) {
    const names = new Set(plan.norms.map(({ name }) => name));
    return {
      norm(x: Tensor, layer: NormLayer) {
        if (!names.has(layer.name)) return layer.apply(x);
        return layer.apply(x, { weight: trained[keyOf(layer, 'weight')]!, bias: trained[keyOf(layer, 'bias')] });
      },
    };
  },

  merge: ({ plan }, { trained }) => replaced(plan.norms, (norm, tensor) => trained[keyOf(norm, tensor)]!),
};

const tensorsOf = ({ hasBias }: NormInfo) => (hasBias ? (['weight', 'bias'] as const) : (['weight'] as const));

/** PEFT wraps the module, and has the copy beside it. */
const keyOf = ({ name }: Pick<NormInfo, 'name'>, tensor: 'weight' | 'bias'): string =>
  `${name}.ln_tuning_layers.${tensor}`;

function replaced(norms: readonly NormInfo[], by: (norm: NormInfo, tensor: 'weight' | 'bias') => Tensor): Named {
  const changed: Record<string, Tensor> = {};
  for (const norm of norms) for (const tensor of tensorsOf(norm)) changed[`${norm.name}.${tensor}`] = by(norm, tensor);
  return changed;
}
