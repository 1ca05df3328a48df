import { dropout, type Key, ones, type Tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import { applyLinear, type ModuleInfo } from '@posttrain/lm';
import { addedToWeight, appliedDelta, derivedDelta } from '../adapters/delta.js';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith, uniformWithin } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';
import type { AdapterTensors, PeftMethod } from '../adapters/peft-method.js';
import { perLayer } from '../adapters/per-layer.js';

const randLoraOptions = methodOptions('RANDLORA', {
  ...targetOptions,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'randlora_only'], { default: 'none' }),
  /** Rank of each base; a smaller one has more bases, and so more that is trained. Default 32. */
  r: integer({ default: 32, min: 1 }),
  /** The update is multiplied by randloraAlpha / r. Default 640. */
  randloraAlpha: integer({ default: 640 }),
  /** Probability with which an element of the update's input is dropped in training. Default 0. */
  randloraDropout: number({ default: 0, min: 0, below: 1 }),
  /** Bases of −1, 0 and 1 with probabilities 1/6, 2/3 and 1/6. Default false. */
  sparse: boolean({ default: false }),
  /** Bases of −1, 0 and 1 where 0 has 1 − 1/√d, d the smaller side of the largest module. Default false. */
  verySparse: boolean({ default: false }),
  /** Write the bases into the file. Default true; without them PEFT draws them again, which nothing but torch can. */
  saveProjection: boolean({ default: true }),
  /** PEFT's seed of the bases; here the adapter's `seed` counts too. Default 0. */
  projectionPrngKey: integer({ default: 0, min: 0 }),
  /** Λ starts at zero, so that the model starts as it is. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `randLora`, complete, by PEFT's names in camel case. */
export type RandLoraConfig = Read<typeof randLoraOptions>;

const [A, B, LAMBDA, GAMMA] = ['randlora_A', 'randlora_B', 'randlora_lambda', 'randlora_gamma'];

/** The modules' part, which share the bases. */
const layers: LayerMethod<RandLoraConfig> = {
  peftType: 'RANDLORA',
  kinds: ['linear'],
  targetBiases: 'randlora_only',
  options: randLoraOptions,
  fileDefaults: {},

  stochastic: ({ randloraDropout }) => (randloraDropout > 0 ? `randloraDropout is ${randloraDropout}` : undefined),

  parameters(target, { r }) {
    const { bases, small } = sizesOf([target], r);
    return bases * (r + small);
  },

  checkFile({ saveProjection }) {
    if (saveProjection) return;
    throw new AdapterConfigError(
      'save_projection is false, so the file lacks randlora_A and randlora_B, which only the generator of torch can ' +
        'draw again: save the adapter with save_projection in PEFT',
    );
  },

  init(target, { r, initWeights }, key) {
    const { bases, small, large } = sizesOf([target], r);
    const [lambda, gamma] = [
      [r, bases],
      [bases, small],
    ];
    if (initWeights) return { [LAMBDA]: zeros(lambda), [GAMMA]: ones(gamma).div(Math.max(...gamma)) };
    return { [LAMBDA]: normalWith(key, lambda), [GAMMA]: ones(gamma).div(large) };
  },

  sharedParameters(targets, { r }) {
    const { bases, small, large } = sizesOf(targets, r);
    return r * (small + bases * large);
  },

  shared(targets, config, key) {
    const { bases, small, large } = sizesOf(targets, config.r);
    const own = key.child(config.projectionPrngKey);
    const draw = (part: number, shape: readonly number[]) =>
      standardised(randomBase(own.child(part), shape, zeroShare(config, small)));
    return { [A]: draw(0, [config.r, 1, small]), [B]: draw(1, [large, bases, config.r]) };
  },

  frozenInFile: ({ saveProjection }) => saveProjection,

  apply(x, layer, parameters, config, dropoutKey) {
    const derived = appliedDelta(x, layer, parameters);
    if (derived) return derived;
    const { a, b } = factorsOf(layer, parameters);
    const dropped = dropoutKey ? dropout(x, config.randloraDropout, dropoutKey) : x;
    const narrow = applyLinear(dropped, a, undefined, false).mul(config.randloraAlpha / config.r);
    return layer.apply(x).add(applyLinear(narrow, b, undefined, false));
  },

  // The factors are as wide as the weight.
  ...derivedDelta<RandLoraConfig>(deltaOf),
  ...addedToWeight<RandLoraConfig>(deltaOf),
};

const inner = perLayer(layers);

/**
 * RandLoRA (arXiv 2502.00987): y = W x + b + (α / r) Σ_j B_j Λ_j A Γ_j x, an update of full rank from n = ⌈d / r⌉ random bases of
 * rank r, with d the smaller side of the weight and D the larger. A [r, 1, d] and B [D, n, r] are frozen and one pair for the
 * whole model (of the largest sizes; a module takes the first of each). Trained are the diagonals `randlora_lambda` [r, n]
 * and `randlora_gamma` [n, d]. Where the inputs are the larger side, the update is transposed.
 */
export const randLora: PeftMethod<RandLoraConfig> = {
  ...inner,
  init(context, base, key, prepared) {
    const { trained, frozen } = inner.init(context, base, key, prepared);
    if (!context.config.saveProjection) return { trained, frozen };
    // In files of PEFT every module has the bases once more.
    const copies = context.plan.targets.flatMap(({ name }) => [A, B].map((base) => [`${name}.${base}`, frozen[base]!]));
    return { trained, frozen: { ...frozen, ...Object.fromEntries(copies) } };
  },
  hooks: (context, tensors, dropoutKey) => inner.hooks(context, withoutCopies(tensors), dropoutKey),
  derive: (context, tensors, base) => inner.derive!(context, withoutCopies(tensors), base),
  merge: (context, tensors, base) => inner.merge!(context, withoutCopies(tensors), base),
  unmerge: (context, tensors, merged) => inner.unmerge!(context, withoutCopies(tensors), merged),
};

/** One pair in memory of the engine, whatever the file has. */
const withoutCopies = ({ trained, frozen }: AdapterTensors): AdapterTensors => ({
  trained,
  frozen: { [A]: frozen[A]!, [B]: frozen[B]! },
});

interface Sizes {
  readonly bases: number;
  readonly small: number;
  readonly large: number;
}

/** Of a module, or of all: the sides of the largest outputs and the largest inputs. */
function sizesOf(targets: readonly ModuleInfo[], r: number): Sizes {
  const shapes = targets.map(linearShape);
  const sides = [Math.max(...shapes.map(({ inputs }) => inputs)), Math.max(...shapes.map(({ outputs }) => outputs))];
  const small = Math.min(...sides);
  return { bases: Math.ceil(small / r), small, large: Math.max(...sides) };
}

function deltaOf(module: ModuleInfo, parameters: Named, { randloraAlpha, r }: RandLoraConfig): Tensor {
  const { a, b } = factorsOf(module, parameters);
  return b.matmul(a).mul(randloraAlpha / r);
}

/** The update as b a, with the sums over bases and ranks as one, of n r. */
function factorsOf(module: ModuleInfo, parameters: Named): { readonly a: Tensor; readonly b: Tensor } {
  const { inputs } = linearShape(module);
  const r = parameters[LAMBDA]!.shape[0]!;
  const { bases, small, large } = sizesOf([module], r);
  const narrow = parameters[A]!.slice(2, 0, small)
    .mul(parameters[LAMBDA]!.expandDims(2))
    .mul(parameters[GAMMA]!.expandDims(0))
    .reshape([r * bases, small]);
  // PEFT joins the ranks of A before its bases, and the bases of B before its ranks.
  const wide = parameters[B]!.slice(0, 0, large)
    .slice(1, 0, bases)
    .reshape([large, bases * r]);
  return small === inputs ? { a: narrow, b: wide } : { a: wide.transpose(), b: narrow.transpose() };
}

/** How many of its numbers a base has as zeros; none said: all are drawn from an interval. */
function zeroShare({ sparse, verySparse }: RandLoraConfig, small: number): number | undefined {
  if (verySparse) return 1 - 1 / Math.sqrt(small);
  return sparse ? 2 / 3 : undefined;
}

/** Uniform around zero, or of −1, 0 and 1. */
function randomBase(key: Key, shape: readonly number[], zeroes: number | undefined): Tensor {
  const x = uniformWithin(key, shape, 1);
  return zeroes === undefined ? x : x.abs().greater(zeroes).cast('float32').mul(x.sign());
}

/** With deviation 1, as PEFT finds it best. */
function standardised(x: Tensor): Tensor {
  const variance = x
    .sub(x.mean())
    .square()
    .sum()
    .div(x.size - 1);
  return x.div(variance.sqrt());
}
