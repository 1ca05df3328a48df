import { concat, dropout, type Key, type Tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, custom, integer, listOf, number, oneOf, type Read, showValue } from '@posttrain/interfaces';
import { applyLinear, type LinearLayer } from '@posttrain/lm';
import { AdapterConfigError, MergeError } from '../adapters/errors.js';
import { allLinearOfMixture } from '../adapters/fused-parameters.js';
import { normalWith, uniformWithin } from '../adapters/initial.js';
import { type AdapterTarget, type LayerMethod, linearShape } from '../adapters/layer-method.js';
import {
  excludeOption,
  isTexts,
  layerOptions,
  methodOptions,
  orNull,
  patternOption,
  targetOptions,
} from '../adapters/method-options.js';
import { patternValue } from '../adapters/targets.js';
import { tokensOption } from '../adapters/trainable-tokens.js';
import { activatedFrom, sinceInvocation } from './alora.js';
import { doraScale, outputNorms, scaleOutputs } from './dora.js';
import {
  checkStart,
  completeStart,
  factorsOfWeight,
  isOfRows,
  isOfWeight,
  plainConfig,
  startFromRows,
  startOptions,
} from './lora-start.js';
import { orthogonalFactors } from './orthogonal.js';

const loraOptions = methodOptions('LORA', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'lora_only'], { default: 'none' }),
  /** Rank of the update. Default 8. */
  r: integer({ default: 8, min: 1 }),
  /** The update is multiplied by loraAlpha / r. Default 8. */
  loraAlpha: number({ default: 8 }),
  /** Probability with which an element of the update's input is dropped in training. Default 0. */
  loraDropout: number({ default: 0, min: 0, below: 1 }),
  /** rsLoRA (arXiv 2312.03732): multiply by loraAlpha / √r instead. Default false. */
  useRslora: boolean({ default: false }),
  /** DoRA (arXiv 2402.09353). Default false. */
  useDora: boolean({ default: false }),
  /** Give B a bias. Default false. */
  loraBias: boolean({ default: false }),
  ...startOptions,
  /** Rank by module: a path, its dotted ending, or a regular expression of either; the first that matches. Default: none. */
  rankPattern: patternOption,
  /** `loraAlpha` by module, written as `rankPattern`. Default: none. */
  alphaPattern: patternOption,
  /**
   * Weights that are one parameter in transformers and several modules here, with one A and one B for all: those of a layer's experts
   * (`mlp.experts.gate_up_proj`, `mlp.experts.down_proj`) and of its router (`gate.weight`), by whole paths or dotted endings. Default: none.
   */
  targetParameters: orNull(custom<readonly string[]>()('a list of texts', isTexts, { default: [] })),
  ...tokensOption,
  /**
   * A tied output layer has what is trained of its embedding, where `modulesToSave` or `targetModules` has `embed_tokens` or `lm_head`: the model
   * stays tied, and its merged weights too. Default false.
   */
  ensureWeightTying: boolean({ default: false }),
  /** aLoRA (arXiv 2504.12397): act from these tokens on, which a sequence must contain. Default: act everywhere. */
  aloraInvocationTokens: orNull(listOf(integer({ min: 0 }), { default: [] })),
});
/** Options of `lora`, complete, by PEFT's names in camel case. */
export type LoraConfig = Read<typeof loraOptions>;

/**
 * LoRA (arXiv 2106.09685): W' = W + s·B·A with A [r, in], B [out, r] and s = α/r (rsLoRA: α/√r), so
 * y = W x + b + s·B·A·x. On an embedding, A and B act on the one-hot token. With `useDora`, W' = m·V/‖V‖, V = W + s·B·A.
 */
export const lora: LayerMethod<LoraConfig> & { readonly options: typeof loraOptions } = {
  peftType: 'LORA',
  kinds: ['linear', 'embedding', 'head'],
  options: loraOptions,
  fileDefaults: {
    arrow_config: null,
    kasa_config: null,
    layer_replication: null,
    loftq_config: {},
    megatron_config: null,
    megatron_core: 'megatron.core',
    monteclora_config: null,
    qalora_group_size: 16,
    use_bdlora: null,
    use_qalora: false,
    velora_config: null,
  },

  stochastic: ({ loraDropout }) => (loraDropout > 0 ? `loraDropout is ${loraDropout}` : undefined),

  rowInputs: ({ aloraInvocationTokens: invocation }) => (invocation ? activatedFrom(invocation) : undefined),

  cannotMerge: ({ aloraInvocationTokens }) =>
    aloraInvocationTokens ? 'acts from the invocation tokens on, and not before them' : undefined,

  modulePatterns: ['rankPattern', 'alphaPattern'],

  parameters(target, config) {
    const { inputs, outputs } = linearShape(target);
    const { r } = rankOf(config, target.name);
    return r * (inputs + outputs) + (config.useDora || config.loraBias ? outputs : 0);
  },

  complete: (config, modelType) => allLinearOfMixture(completeStart(config), modelType),

  check(config, targets) {
    const { loraDropout, loraBias, useDora, aloraInvocationTokens: invocation, ensureWeightTying } = config;
    const embedding = ensureWeightTying && targets.find(({ kind }) => kind === 'embedding');
    if (embedding) {
      const [ofEmbedding, ofHead] = [embedding.name, 'lm_head'].map((name) => rankOf(config, name));
      const isOther = ofEmbedding!.r !== ofHead!.r || ofEmbedding!.alpha !== ofHead!.alpha;
      // PEFT ties the factors and not the magnitudes, and scales the output layer by its own rank and alpha.
      if (useDora || isOther) {
        throw new AdapterConfigError(
          `ensureWeightTying of an embedding among targetModules is ${useDora ? 'without useDora' : 'with one rank and one alpha of embed_tokens and lm_head'}`,
        );
      }
    }
    if (loraBias && useDora) throw new AdapterConfigError('loraBias and useDora exclude each other, as in PEFT');
    if (invocation && (invocation.length === 0 || useDora || loraBias)) {
      throw new AdapterConfigError('aloraInvocationTokens must be tokens, and without useDora and loraBias');
    }
    for (const target of targets) {
      const { r, alpha } = rankOf(config, target.name);
      if (!Number.isInteger(r) || r < 1)
        throw new AdapterConfigError(`${target.name}: the rank must be 1 or more, not ${showValue(r)}`);
      if (invocation && target.kind !== 'linear') {
        throw new AdapterConfigError(`${target.name}: aloraInvocationTokens are for linear layers`);
      }
      if (!Number.isFinite(alpha))
        throw new AdapterConfigError(`${target.name}: loraAlpha must be a number, not ${showValue(alpha)}`);
      if (loraBias && target.kind !== 'linear') {
        throw new AdapterConfigError(
          `${target.name}: loraBias is for linear layers, not for an embedding or the output layer`,
        );
      }
      if (loraDropout > 0 && target.kind === 'head') {
        throw new AdapterConfigError(`${target.name}: loraDropout is not supported on the output layer; set it to 0`);
      }
    }
    checkStart(
      config,
      targets.map((target) => ({ target, r: rankOf(config, target.name).r })),
    );
  },

  checkFile(config) {
    if (!isOfRows(config)) return;
    throw new AdapterConfigError(
      `init_lora_weights "${config.initLoraWeights}" is over what is left of the base's weights, which the file does not have: in PEFT save it with path_initial_model_for_weight_conversion`,
    );
  },

  fromRows: (context) =>
    startFromRows(
      { ...context, of: (name) => ({ ...rankOf(context.config, name), s: scalingOf(context.config, name) }) },
      { trained: namesOf({ kind: 'linear' }), frozen: FROZEN },
    ),

  // PEFT has the factors of the embedding for the output layer, each the other turned.
  headTensors: ({ lora_embedding_A: a, lora_embedding_B: b }) => ({
    [namesOf({ kind: 'head' }).a]: b!.transpose(),
    [namesOf({ kind: 'head' }).b]: a!.transpose(),
  }),

  fused: {
    check({ loraDropout, loraBias, useDora, initLoraWeights, aloraInvocationTokens }) {
      const isPlain = [true, false, 'gaussian'].includes(initLoraWeights as never);
      if (loraDropout === 0 && !loraBias && !useDora && isPlain && !aloraInvocationTokens) return;
      throw new AdapterConfigError(
        'targetParameters is without loraDropout, loraBias, useDora and aloraInvocationTokens, as in PEFT, and with initLoraWeights true, false or "gaussian"',
      );
    },
    // PEFT has the factors of all experts in one linear layer: their sizes are those of a rank of experts · r.
    init(parameter, config, key) {
      const { inFeatures: inputs, outFeatures: outputs, experts } = parameter;
      const { a, b } = initialFactors(parameter, config, {
        ...{ r: experts * rankOf(config, parameter.name).r, inputs, outputs, key },
      });
      return { 'lora_A.weight': a, 'lora_B.weight': b };
    },
    ofMember: ({ experts }, { module, expert, from }, { 'lora_A.weight': a, 'lora_B.weight': b }) => {
      const r = a!.shape[0]! / experts;
      const rows = b!.slice(0, from, from + module.outFeatures).reshape([module.outFeatures, r, experts]);
      return {
        'lora_A.weight': a!.slice(0, expert * r, (expert + 1) * r),
        'lora_B.weight': rows.slice(2, expert, expert + 1).reshape([module.outFeatures, r]),
      };
    },
  },

  async prepare(target, config, { key }) {
    const { r } = rankOf(config, target.name);
    const names = namesOf(target);
    if (config.initLoraWeights === 'orthogonal') {
      const { inputs, outputs } = linearShape(target);
      const { a, b } = await orthogonalFactors(key, { r, inputs, outputs });
      return { trained: { [names.a]: a, [names.b]: b } };
    }
    const factorsOf = factorsOfWeight(config);
    if (!factorsOf) return {};
    const { transposed } = linearShape(target);
    const { a, b } = await factorsOf(target.weight, { r, s: scalingOf(config, target.name), transposed });
    return { trained: { [names.a]: a, [names.b]: b }, frozen: { [FROZEN.a]: a, [FROZEN.b]: b } };
  },

  fileConfig: (config) => (isOfRows(config) ? plainConfig(config) : undefined),
  toFile(module, parameters) {
    const { a, b } = namesOf(module);
    // Of a file that has it unconverted, which `checkFile` refuses.
    if (!parameters[FROZEN.a]) return { [a]: parameters[a]!, [b]: parameters[b]! };
    return {
      [a]: concat([parameters[a]!, parameters[FROZEN.a]!], 0),
      [b]: concat([parameters[b]!, parameters[FROZEN.b]!.neg()], 1),
    };
  },

  changesBase: isOfWeight,

  init(target, config, key) {
    const { inputs, outputs, transposed } = linearShape(target);
    const { r } = rankOf(config, target.name);
    const names = namesOf(target);
    const { a, b } = initialFactors(target, config, { r, inputs, outputs, key });
    const factors: Named = { [names.a]: a, [names.b]: b };
    if (config.useDora) {
      const direction = target.weight.add(delta(target, factors, config));
      return { ...factors, [MAGNITUDE]: outputNorms(direction, transposed) };
    }
    if (!config.loraBias) return factors;
    const bias =
      config.initLoraWeights === false ? uniformWithin(key.child(2), [outputs], r ** -0.5) : zeros([outputs]);
    return { ...factors, [BIAS]: bias };
  },

  apply(x, layer, parameters, config, dropoutKey) {
    const dropped = dropoutKey ? dropout(x, config.loraDropout, dropoutKey) : x;
    const update = updateOf(dropped, layer, parameters, config);
    if (config.aloraInvocationTokens) return layer.apply(x).add(sinceInvocation(update, layer));
    const y = layer.apply(x);
    if (!config.useDora) return y.add(update);
    const scale = doraScaleOf(layer, parameters, config);
    if (!dropoutKey)
      return layer.bias ? y.sub(layer.bias).add(update).mul(scale).add(layer.bias) : y.add(update).mul(scale);
    // Only the change goes through the dropped input, as in PEFT: y = W x + b + (m/‖V‖ - 1) W x̃ + m/‖V‖ · s·B·A·x̃.
    const base = applyLinear(dropped, layer.weight, undefined, layer.transposed);
    return y.add(base.mul(scale.sub(1))).add(update.mul(scale));
  },

  // The norms of DoRA are of the whole weight.
  derive: (target, parameters, config) =>
    config.useDora ? { [DORA_SCALE]: doraScaleOf(target, parameters, config) } : {},

  lowRank(module, parameters, config) {
    const { useDora, loraBias, aloraInvocationTokens } = config;
    if (module.kind !== 'linear' || useDora || loraBias || aloraInvocationTokens) return undefined;
    const { a, b } = namesOf(module);
    const scale = scalingOf(config, module.name);
    const [frozenA, frozenB] = [parameters[FROZEN.a], parameters[FROZEN.b]];
    if (!frozenA || !frozenB) return { a: parameters[a]!, b: parameters[b]!, scale };
    return { a: concat([parameters[a]!, frozenA], 0), b: concat([parameters[b]!, frozenB.neg()], 1), scale };
  },

  embed(tokens, layer, parameters, config) {
    const { a, b } = namesOf(layer);
    const rows = parameters[a]!.transpose().gather(tokens).mul(scalingOf(config, layer.name));
    const updated = layer.apply(tokens).add(applyLinear(rows, parameters[b]!, undefined, false));
    return config.useDora ? updated.mul(doraScaleOf(layer, parameters, config)) : updated;
  },

  merge(target, parameters, config) {
    const weight = target.weight.add(delta(target, parameters, config));
    if (config.useDora) {
      const { transposed } = linearShape(target);
      return {
        ...target,
        weight: scaleOutputs(weight, doraScale(parameters[MAGNITUDE]!, weight, transposed), transposed),
      };
    }
    return { weight, bias: shiftedBias(target, parameters, config, 1) };
  },

  unmerge(merged, parameters, config) {
    if (config.useDora) {
      throw new MergeError(
        'a merged DoRA adapter cannot be taken out: ‖V‖ is not in the weights. Keep the base model.',
      );
    }
    const weight = merged.weight.sub(delta(merged, parameters, config));
    return { weight, bias: shiftedBias(merged, parameters, config, -1) };
  },
};

/** What is taken out of the weight where A and B start as a part of it. */
const FROZEN = { a: 'pissa_A', b: 'pissa_B' } as const;

const MAGNITUDE = 'lora_magnitude_vector';
const DORA_SCALE = 'dora_scale';
const BIAS = 'lora_B.bias';

const namesOf = ({ kind }: Pick<AdapterTarget, 'kind'>) =>
  kind === 'embedding' ? { a: 'lora_embedding_A', b: 'lora_embedding_B' } : { a: 'lora_A.weight', b: 'lora_B.weight' };

/** Rank and alpha of a module, by PEFT's rule: the first pattern that is the path or a dotted ending of it. */
export function rankOf(config: LoraConfig, module: string): { readonly r: number; readonly alpha: number } {
  return {
    r: patternValue(config.rankPattern, 'rankPattern', module) ?? config.r,
    alpha: patternValue(config.alphaPattern, 'alphaPattern', module) ?? config.loraAlpha,
  };
}

/** s = α/r, or α/√r for rsLoRA. */
export function scalingOf(config: LoraConfig, module: string): number {
  const { r, alpha } = rankOf(config, module);
  return alpha / (config.useRslora ? Math.sqrt(r) : r);
}

function initialFactors(
  { kind }: Pick<AdapterTarget, 'kind'>,
  { initLoraWeights, ensureWeightTying }: LoraConfig,
  { r, inputs, outputs, key }: { r: number; inputs: number; outputs: number; key: Key },
): { a: Tensor; b: Tensor } {
  const [shapeA, shapeB] = [
    [r, inputs],
    [outputs, r],
  ];
  if (kind === 'embedding') {
    // The other way round: only a few rows of A get a gradient in a step, so it is A that starts at zero.
    const a = initLoraWeights === false ? normalWith(key.child(0), shapeA) : zeros(shapeA);
    if (!ensureWeightTying || initLoraWeights === false) return { a, b: normalWith(key.child(1), shapeB) };
    // Of two places with the same factors PEFT initialises the output layer's last.
    const ofHead = initLoraWeights === 'gaussian' ? normalWith(key.child(1), shapeB, 1 / r) : undefined;
    return { a, b: ofHead ?? uniformWithin(key.child(1), shapeB, outputs ** -0.5) };
  }
  const a =
    initLoraWeights === 'gaussian'
      ? normalWith(key.child(0), shapeA, 1 / r)
      : uniformWithin(key.child(0), shapeA, inputs ** -0.5);
  return { a, b: initLoraWeights === false ? uniformWithin(key.child(1), shapeB, r ** -0.5) : zeros(shapeB) };
}

/** s·B·A in the layout of the weight. */
function delta(target: AdapterTarget, parameters: Named, config: LoraConfig): Tensor {
  const { a, b } = namesOf(target);
  const { transposed } = linearShape(target);
  const product = ({ a: factorA, b: factorB }: { a: Tensor; b: Tensor }) =>
    transposed ? factorA.matmul(factorB, { transposeA: true, transposeB: true }) : factorB.matmul(factorA);
  const own = product({ a: parameters[a]!, b: parameters[b]! });
  const [frozenA, frozenB] = [parameters[FROZEN.a], parameters[FROZEN.b]];
  const change = frozenA && frozenB ? own.sub(product({ a: frozenA, b: frozenB })) : own;
  return change.mul(scalingOf(config, target.name));
}

/** s·(B·A·x + b). */
function updateOf(x: Tensor, layer: LinearLayer, parameters: Named, config: LoraConfig): Tensor {
  const { a, b } = namesOf(layer);
  const scaling = scalingOf(config, layer.name);
  // Scaled where it is narrowest.
  const narrow = applyLinear(x, parameters[a]!, undefined, false).mul(scaling);
  const own = applyLinear(narrow, parameters[b]!, parameters[BIAS]?.mul(scaling), false);
  const [frozenA, frozenB] = [parameters[FROZEN.a], parameters[FROZEN.b]];
  if (!frozenA || !frozenB) return own;
  return own.sub(applyLinear(applyLinear(x, frozenA, undefined, false).mul(scaling), frozenB, undefined, false));
}

const doraScaleOf = (layer: AdapterTarget, parameters: Named, config: LoraConfig): Tensor =>
  parameters[DORA_SCALE] ??
  doraScale(parameters[MAGNITUDE]!, layer.weight.add(delta(layer, parameters, config)), linearShape(layer).transposed);

function shiftedBias(target: AdapterTarget, parameters: Named, config: LoraConfig, sign: 1 | -1): Tensor | undefined {
  const shift = parameters[BIAS];
  if (!shift) return target.bias;
  if (!target.bias) {
    throw new MergeError(`${target.name} has no bias in this architecture, so loraBias cannot be merged into it`);
  }
  return target.bias.add(shift.mul(sign * scalingOf(config, target.name)));
}
