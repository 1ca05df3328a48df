import { dropout, type Key, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import { applyLinear, type ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';
import { targetsBut } from '../adapters/targets.js';

const veraOptions = methodOptions('VERA', {
  ...targetOptions,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'vera_only'], { default: 'none' }),
  /** Rows of A and columns of B. Default 256. */
  r: integer({ default: 256, min: 1 }),
  /** Where λ_d starts. Default 0.1. */
  dInitial: number({ default: 0.1 }),
  /** Probability with which an element of the update's input is dropped in training. Default 0. */
  veraDropout: number({ default: 0, min: 0, below: 1 }),
  /** Write A and B into the file. Default true; without them PEFT draws them again, which nothing but torch can. */
  saveProjection: boolean({ default: true }),
  /** PEFT's seed of A and B; here the adapter's `seed` counts too. Default 0. */
  projectionPrngKey: integer({ default: 0, min: 0 }),
  /** λ_b starts at zero, so that the model starts as it is. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `vera`, complete, by PEFT's names in camel case. */
export type VeraConfig = Read<typeof veraOptions>;

/**
 * VeRA (arXiv 2310.11454): y = W x + b + λ_b ⊙ (B (λ_d ⊙ (A x))) with A [r, in] and B [out, r] random, frozen and one pair for
 * the whole model (of the largest sizes; a module takes the first columns of A and rows of B), and λ_d [r], λ_b [out] trained
 * for each module.
 */
export const vera: LayerMethod<VeraConfig> = {
  peftType: 'VERA',
  defaultTargets: targetsBut([], { phi: ['q_proj', 'v_proj'] }),
  kinds: ['linear'],
  targetBiases: 'vera_only',
  options: veraOptions,
  fileDefaults: {},

  stochastic: ({ veraDropout }) => (veraDropout > 0 ? `veraDropout is ${veraDropout}` : undefined),

  parameters: (target, { r }) => r + linearShape(target).outputs,

  checkFile({ saveProjection }) {
    if (saveProjection) return;
    throw new AdapterConfigError(
      'save_projection is false, so the file lacks vera_A and vera_B, which only the generator of torch can draw again: save the adapter with save_projection in PEFT',
    );
  },

  init(target, { r, dInitial, initWeights }, key) {
    const { outputs } = linearShape(target);
    const b = initWeights ? zeros([outputs]) : tensor(key.normalHost(outputs), [outputs]);
    return { vera_lambda_b: b, vera_lambda_d: tensor(new Float32Array(r).fill(dInitial)) };
  },

  sharedParameters(targets, { r }) {
    const { inputs, outputs } = largestOf(targets);
    return r * (inputs + outputs);
  },

  shared(targets, { r, projectionPrngKey }, key) {
    const { inputs, outputs } = largestOf(targets);
    const own = key.child(projectionPrngKey);
    return { vera_A: kaiming(own.child(0), [r, inputs]), vera_B: kaiming(own.child(1), [outputs, r]) };
  },

  frozenInFile: ({ saveProjection }) => saveProjection,

  apply(x, layer, parameters, { veraDropout }, dropoutKey) {
    const { a, b } = projectionsOf(layer, parameters);
    const dropped = dropoutKey ? dropout(x, veraDropout, dropoutKey) : x;
    const narrow = applyLinear(dropped, a, undefined, false).mul(parameters.vera_lambda_d!);
    return layer.apply(x).add(applyLinear(narrow, b, undefined, false).mul(parameters.vera_lambda_b!));
  },

  lowRank(module, parameters) {
    const { a, b } = projectionsOf(module, parameters);
    const scaled = a.mul(parameters.vera_lambda_d!.expandDims(1));
    return { a: scaled, b: b.mul(parameters.vera_lambda_b!.expandDims(1)), scale: 1 };
  },

  merge(target, parameters) {
    return { weight: target.weight.add(deltaOf(target, parameters)), bias: target.bias };
  },

  unmerge(merged, parameters) {
    return { weight: merged.weight.sub(deltaOf(merged, parameters)), bias: merged.bias };
  },
};

function largestOf(targets: readonly ModuleInfo[]): { readonly inputs: number; readonly outputs: number } {
  const shapes = targets.map(linearShape);
  const largest = (side: 'inputs' | 'outputs') => Math.max(...shapes.map((shape) => shape[side]));
  return { inputs: largest('inputs'), outputs: largest('outputs') };
}

/** The module's part of A and B. */
function projectionsOf(module: ModuleInfo, parameters: Named): { readonly a: Tensor; readonly b: Tensor } {
  const { inputs, outputs } = linearShape(module);
  return { a: parameters.vera_A!.slice(1, 0, inputs), b: parameters.vera_B!.slice(0, 0, outputs) };
}

/** diag(λ_b) B diag(λ_d) A in the layout of the weight. */
function deltaOf(module: ModuleInfo, parameters: Named): Tensor {
  const { a, b } = projectionsOf(module, parameters);
  const delta = b.mul(parameters.vera_lambda_b!.expandDims(1)).matmul(a.mul(parameters.vera_lambda_d!.expandDims(1)));
  return linearShape(module).transposed ? delta.transpose() : delta;
}

/** Uniform in ±√(6 / columns): Kaiming's for a linear layer, as PEFT draws A and B. */
function kaiming(key: Key, shape: readonly [number, number]): Tensor {
  const bound = Math.sqrt(6 / shape[1]);
  return tensor(
    Float32Array.from(key.uniformHost(shape[0] * shape[1]), (u) => (2 * u - 1) * bound),
    shape,
  );
}
