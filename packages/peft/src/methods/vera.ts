import { dropout, type Key, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { showValue } from '@posttrain/interfaces';
import { applyLinear, type ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { type LayerMethod, linearShape, type TargetedConfig } from '../adapters/layer-method.js';

/** Options of `vera`, by PEFT's names in camel case. */
export interface VeraConfig extends TargetedConfig {
  readonly layersToTransform: readonly number[] | number | null;
  readonly layersPattern: readonly string[] | string | null;
  readonly modulesToSave: readonly string[] | null;
  readonly bias: 'none' | 'all' | 'vera_only';
  /** Rows of A and columns of B. Default 256. */
  readonly r: number;
  /** Where λ_d starts. Default 0.1. */
  readonly dInitial: number;
  /** Probability with which an element of the update's input is dropped in training. Default 0. */
  readonly veraDropout: number;
  /** Write A and B into the file. Default true; without them PEFT draws them again, which nothing but torch can. */
  readonly saveProjection: boolean;
  /** PEFT's seed of A and B; here the adapter's `seed` counts too. Default 0. */
  readonly projectionPrngKey: number;
  /** λ_b starts at zero, so that the model starts as it is. False: random, for tests. Default true. */
  readonly initWeights: boolean;
}

/**
 * VeRA (arXiv 2310.11454): y = W x + b + λ_b ⊙ (B (λ_d ⊙ (A x))) with A [r, in] and B [out, r] random, frozen and one pair for
 * the whole model (of the largest sizes; a module takes the first columns of A and rows of B), and λ_d [r], λ_b [out] trained
 * for each module.
 */
export const vera: LayerMethod<VeraConfig> = {
  peftType: 'VERA',
  kinds: ['linear'],
  targetBiases: 'vera_only',
  defaults: {
    targetModules: null,
    layersToTransform: null,
    layersPattern: null,
    modulesToSave: null,
    bias: 'none',
    r: 256,
    dInitial: 0.1,
    veraDropout: 0,
    saveProjection: true,
    projectionPrngKey: 0,
    initWeights: true,
  },
  fileDefaults: {},

  stochastic: ({ veraDropout }) => (veraDropout > 0 ? `veraDropout is ${veraDropout}` : undefined),

  parameters: (target, { r }) => r + linearShape(target).outputs,

  check({ r, dInitial, veraDropout, projectionPrngKey }) {
    if (!Number.isSafeInteger(projectionPrngKey) || projectionPrngKey < 0) {
      throw new AdapterConfigError(`projectionPrngKey must be a whole number, not ${showValue(projectionPrngKey)}`);
    }
    if (!Number.isInteger(r) || r < 1) throw new AdapterConfigError(`r must be 1 or more, not ${showValue(r)}`);
    if (!Number.isFinite(dInitial))
      throw new AdapterConfigError(`dInitial must be a number, not ${showValue(dInitial)}`);
    if (!(typeof veraDropout === 'number' && veraDropout >= 0 && veraDropout < 1)) {
      throw new AdapterConfigError(`veraDropout ${showValue(veraDropout)}: not in [0, 1)`);
    }
  },

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

  sharedInFile: ({ saveProjection }) => saveProjection,

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
