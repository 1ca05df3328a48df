import { dropout, iota, softmax, type Tensor, where } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import { applyLinear, type ModuleInfo } from '@posttrain/lm';
import { addedToWeight } from '../adapters/delta.js';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith, uniformWithin } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { excludeOption, layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';
import type { AdapterTensors, PeftMethod } from '../adapters/peft-method.js';
import { perLayer } from '../adapters/per-layer.js';

const vbLoraOptions = methodOptions('VBLORA', {
  ...targetOptions,
  ...excludeOption,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'vblora_only'], { default: 'none' }),
  /** Rank of the update. Default 4. */
  r: integer({ default: 4, min: 1 }),
  /** Vectors in the bank. Default 256. */
  numVectors: integer({ default: 256, min: 2 }),
  /** Their length, which divides the inputs and outputs. Default 256. */
  vectorLength: integer({ default: 256, min: 1 }),
  /** Vectors of which each piece is mixed: those with the largest logits. Default 2. */
  topk: integer({ default: 2, min: 1 }),
  /** Write only what the largest logits give. Not supported: true is refused. Default false. */
  saveOnlyTopkWeights: boolean({ default: false }),
  /** Probability with which an element of the update's input is dropped in training. Default 0. */
  vbloraDropout: number({ default: 0, min: 0, below: 1 }),
  /** The bank starts uniform in plus and minus this. Default 0.02. */
  initVectorBankBound: number({ default: 0.02, min: 0 }),
  /** Deviation of the logits at the start. Default 0.1. */
  initLogitsStd: number({ default: 0.1, min: 0 }),
});
/** Options of `vbLora`, complete, by PEFT's names in camel case. */
export type VbLoraConfig = Read<typeof vbLoraOptions>;

const BANK = 'vblora_vector_bank';

/** The modules' part, to which the bank is a tensor that all share. */
const layers: LayerMethod<VbLoraConfig> = {
  peftType: 'VBLORA',
  kinds: ['linear'],
  targetBiases: 'vblora_only',
  options: vbLoraOptions,
  fileDefaults: {},

  stochastic: ({ vbloraDropout }) => (vbloraDropout > 0 ? `vbloraDropout is ${vbloraDropout}` : undefined),

  check({ vectorLength, topk, numVectors, saveOnlyTopkWeights }, targets) {
    if (saveOnlyTopkWeights) throw new AdapterConfigError('saveOnlyTopkWeights is not supported: set it to false');
    if (topk > numVectors) throw new AdapterConfigError(`topk is ${topk}, and there are ${numVectors} vectors`);
    for (const target of targets) {
      const { inputs, outputs } = linearShape(target);
      if (inputs % vectorLength === 0 && outputs % vectorLength === 0) continue;
      const sizes = `${inputs} inputs and ${outputs} outputs`;
      throw new AdapterConfigError(`${target.name}: vectorLength ${vectorLength} does not divide ${sizes}`);
    }
  },

  parameters(target, { r, vectorLength, numVectors }) {
    const { inputs, outputs } = linearShape(target);
    return (r * numVectors * (inputs + outputs)) / vectorLength;
  },

  init(target, { r, vectorLength, numVectors, initLogitsStd }, key) {
    const { inputs, outputs } = linearShape(target);
    return {
      vblora_logits_A: normalWith(key.child(0), [r, inputs / vectorLength, numVectors], initLogitsStd),
      vblora_logits_B: normalWith(key.child(1), [outputs / vectorLength, r, numVectors], initLogitsStd),
    };
  },

  apply(x, layer, parameters, config, dropoutKey) {
    const { a, b } = factorsOf(parameters, config);
    const dropped = dropoutKey ? dropout(x, config.vbloraDropout, dropoutKey) : x;
    return layer.apply(x).add(applyLinear(applyLinear(dropped, a, undefined, false), b, undefined, false));
  },

  lowRank: (_, parameters, config) => ({ ...factorsOf(parameters, config), scale: 1 }),

  derive(_, parameters, config) {
    const { a, b } = factorsOf(parameters, config);
    return { [A]: a, [B]: b };
  },

  ...addedToWeight<VbLoraConfig>((_: ModuleInfo, parameters, config) => {
    const { a, b } = factorsOf(parameters, config);
    return b.matmul(a);
  }),
};

const inner = perLayer(layers);

/** The bank is trained, but stands where modules look for what they share. */
const shared = ({ trained, frozen }: AdapterTensors): AdapterTensors => {
  const { [BANK]: bank, ...own } = trained;
  return { trained: own, frozen: { ...frozen, [BANK]: bank! } };
};

/**
 * VB-LoRA (arXiv 2405.15179): LoRA, y = W x + b + B A x, whose factors are put together from vectors of one bank [n, length] for the
 * whole model: each piece of a row of A, and of a column of B, is a mixture of the `topk` vectors with the largest logits, by their
 * softmax. The bank and the logits are trained. It does not start as the model is.
 */
export const vbLora: PeftMethod<VbLoraConfig> = {
  ...inner,
  parameters: (context) => inner.parameters!(context) + context.config.numVectors * context.config.vectorLength,
  init(context, base, key, prepared) {
    const { trained } = inner.init(context, base, key, prepared);
    const { numVectors, vectorLength, initVectorBankBound: bound } = context.config;
    // The modules have the keys below their number.
    const bank = uniformWithin(key.child(base.network.modules.size), [numVectors, vectorLength], bound);
    return { trained: { ...trained, [BANK]: bank }, frozen: {} };
  },
  hooks: (context, tensors, dropoutKey) => inner.hooks(context, shared(tensors), dropoutKey),
  lowRank: (context, tensors) => inner.lowRank!(context, shared(tensors)),
  derive: (context, tensors, base) => inner.derive!(context, shared(tensors), base),
  merge: (context, tensors, base) => inner.merge!(context, shared(tensors), base),
  unmerge: (context, tensors, merged) => inner.unmerge!(context, shared(tensors), merged),
};

/** Names of factors that were derived. */
const [A, B] = ['A', 'B'];

function factorsOf(parameters: Named, { r, topk }: VbLoraConfig): { readonly a: Tensor; readonly b: Tensor } {
  const { [A]: derivedA, [B]: derivedB } = parameters;
  if (derivedA && derivedB) return { a: derivedA, b: derivedB };
  const bank = parameters[BANK]!;
  const [, length] = bank.shape as [number, number];
  const mixed = (logits: Tensor): Tensor => {
    const [rows, pieces, count] = logits.shape as [number, number, number];
    const weights = softmax(largest(logits.reshape([rows * pieces, count]), topk));
    return weights.matmul(bank).reshape([rows, pieces, length]);
  };
  const a = mixed(parameters.vblora_logits_A!);
  const b = mixed(parameters.vblora_logits_B!);
  return { a: a.reshape([r, a.size / r]), b: b.transpose([0, 2, 1]).reshape([b.size / r, r]) };
}

/** Logits [m, n] with all but the k largest of each row out of reach. */
function largest(logits: Tensor, k: number): Tensor {
  const [m, n] = logits.shape as [number, number];
  let rest = logits;
  let left = logits.mul(0);
  for (let i = 0; i < k; i++) {
    const first = rest
      .argMax(1)
      .reshape([m, 1])
      .equal(iota([m, n], 1));
    left = left.add(first.cast(logits.dtype));
    rest = where(first, -1e30, rest);
  }
  return where(left.greater(0), logits, -1e30);
}
