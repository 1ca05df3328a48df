import { dropout, type Tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, custom, integer, number, oneOf, type Read } from '@posttrain/interfaces';
import { applyLinear, type ModuleInfo } from '@posttrain/lm';
import { targetOf } from '../adapters/adapter-target.js';
import { addedToWeight } from '../adapters/delta.js';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith, uniformWithin } from '../adapters/initial.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { layerOptions, methodOptions, targetOptions } from '../adapters/method-options.js';
import type { AdapterPlan } from '../adapters/peft-adapter.js';
import type { AdapterTensors, MethodContext, PeftMethod } from '../adapters/peft-method.js';
import { perLayer } from '../adapters/per-layer.js';
import { pissaFactors } from './pissa.js';

const tinyLoraOptions = methodOptions('TINYLORA', {
  ...targetOptions,
  ...layerOptions,
  /** Which biases are trained beside: none, all, or those of the targets. Default `none`. */
  bias: oneOf(['none', 'all', 'tinylora_only'], { default: 'none' }),
  /** Singular directions of a weight that are mixed; of a smaller weight all. Default 2. */
  r: integer({ default: 2, min: 1 }),
  /** Numbers that are trained in each group of modules. Default 64. */
  u: integer({ default: 64, min: 1 }),
  /** How far modules share their numbers: 0 is each its own, 1 is all the same. Default 0. */
  weightTying: number({ default: 0, min: 0, max: 1 }),
  /** PEFT's seed of P; here the adapter's `seed` counts too. Default 42. */
  projectionSeed: integer({ default: 42, min: 0 }),
  /** Write P into the file. Without it PEFT draws it again, which nothing but torch can: false is refused. Default true. */
  saveProjection: boolean({ default: true }),
  /** Bound of the uniform numbers that `initWeights: 'uniform'` starts from. Default 0.02. */
  initVBound: number({ default: 0.02, min: 0 }),
  /** Probability with which an element of the update's input is dropped in training. Default 0. */
  tinyloraDropout: number({ default: 0, min: 0, below: 1 }),
  /** True: from zeros, so that the model starts as it is. `uniform`: at random. False: zeros too, where PEFT sets nothing. Default true. */
  initWeights: custom<boolean | 'uniform'>()(
    'true, false or "uniform"',
    (value) => typeof value === 'boolean' || value === 'uniform',
    { default: true },
  ),
});
/** Options of `tinyLora`, complete, by PEFT's names in camel case. */
export type TinyLoraConfig = Read<typeof tinyLoraOptions>;

const [A, B, P, R] = ['tinylora_A', 'tinylora_B', 'tinylora_P', 'tinylora_R'] as const;

const layers: LayerMethod<TinyLoraConfig> = {
  peftType: 'TINYLORA',
  kinds: ['linear'],
  targetBiases: 'tinylora_only',
  options: tinyLoraOptions,
  fileDefaults: {},

  check({ saveProjection }) {
    if (!saveProjection) throw new AdapterConfigError('saveProjection false is not supported: P must be in the file');
  },

  stochastic: ({ tinyloraDropout }) => (tinyloraDropout > 0 ? `tinyloraDropout is ${tinyloraDropout}` : undefined),

  init: () => ({}),
  frozenInFile: () => true,

  apply(x, layer, parameters, { tinyloraDropout }, dropoutKey) {
    const dropped = dropoutKey ? dropout(x, tinyloraDropout, dropoutKey) : x;
    const narrow = applyLinear(
      applyLinear(dropped, parameters[A]!, undefined, false),
      parameters[R]!,
      undefined,
      false,
    );
    return layer.apply(x).add(applyLinear(narrow, parameters[B]!, undefined, false));
  },

  lowRank: (_, parameters) => ({ a: parameters[R]!.matmul(parameters[A]!), b: parameters[B]!, scale: 1 }),

  ...addedToWeight<TinyLoraConfig>((_, parameters) => parameters[B]!.matmul(parameters[R]!).matmul(parameters[A]!)),
};

const inner = perLayer(layers);

/**
 * TinyLoRA (arXiv 2602.04118): y = W x + b + B R A x with R = Σ_i v_i P_i. Of W = U S Vᵀ, B = U_r √S_r [out, r] and A = √S_r V_rᵀ [r, in],
 * as in LoRA-XS (arXiv 2405.17604), and P [u, r, r], normal with deviation 1/√r, are frozen; the u numbers v of each group of modules
 * are all that is trained.
 *
 * Modules in the order of the model are one group of each ⌊n / groups⌋, groups = round(n (1 − weightTying)).
 */
export const tinyLora: PeftMethod<TinyLoraConfig> = {
  ...inner,
  parameters: ({ config, plan: { targets } }) =>
    groupsOf(targets.length, config) * config.u +
    targets.reduce((sum, target) => {
      const { inputs, outputs } = linearShape(target);
      const rank = rankOf(target, config);
      return sum + rank * (inputs + outputs) + config.u * rank * rank;
    }, 0),

  async prepare({ config, plan, base, isLoaded }) {
    const made: Record<string, Tensor> = {};
    for (const target of plan.targets) {
      const { inputs, outputs, transposed } = linearShape(target);
      const rank = rankOf(target, config);
      const { a, b } = isLoaded
        ? { a: zeros([rank, inputs]), b: zeros([outputs, rank]) }
        : await pissaFactors(targetOf(base, target).weight, { r: rank, s: 1, transposed });
      made[`${target.name}.${A}`] = a;
      made[`${target.name}.${B}`] = b;
    }
    return made;
  },

  init({ config, plan }, _base, key, prepared) {
    const { u, initWeights, initVBound, projectionSeed } = config;
    const trained: Record<string, Tensor> = {};
    for (let group = 0; group < groupsOf(plan.targets.length, config); group++) {
      const start = initWeights === 'uniform' ? uniformWithin(key.child(group), [u], initVBound) : zeros([u]);
      trained[`${VECTORS}${group}`] = start;
    }
    const own = key.child(plan.targets.length).child(projectionSeed);
    const projections = plan.targets.map((target, i) => {
      const rank = rankOf(target, config);
      return [`${target.name}.${P}`, normalWith(own.child(i), [u, rank, rank], rank ** -0.5)] as const;
    });
    return { trained, frozen: { ...prepared, ...Object.fromEntries(projections) } };
  },

  fileKey: (name) => (name.startsWith(VECTORS) ? `base_model.${name}` : `base_model.model.${name}`),

  hooks: (context, tensors, dropoutKey) => inner.hooks(context, mixed(context, tensors), dropoutKey),
  lowRank: (context, tensors) => inner.lowRank!(context, mixed(context, tensors)),
  derive(context, tensors) {
    const { trained } = mixed(context, tensors);
    return Object.fromEntries(context.plan.targets.map(({ name }) => [`${name}.${R}`, trained[`${name}.${R}`]!]));
  },
  merge: (context, tensors, base) => inner.merge!(context, mixed(context, tensors), base),
  unmerge: (context, tensors, merged) => inner.unmerge!(context, mixed(context, tensors), merged),
};

const VECTORS = 'tinylora_v.';

function rankOf(target: ModuleInfo, { r }: TinyLoraConfig): number {
  const { inputs, outputs } = linearShape(target);
  return Math.min(r, inputs, outputs);
}

/** As Python rounds: a half to the even neighbour. */
function groupsOf(count: number, { weightTying }: TinyLoraConfig): number {
  const exact = count * (1 - weightTying);
  const near = Math.round(exact);
  return Math.max(1, near - exact === 0.5 && near % 2 === 1 ? near - 1 : near);
}

/** The tensors with R [r, r] of each module in the place of what it is made of. */
function mixed({ config, plan }: MethodContext<TinyLoraConfig>, { trained, frozen }: AdapterTensors): AdapterTensors {
  const vectorOf = vectorsOf(plan, trained, config);
  const made = plan.targets.map(({ name }, i): [string, Tensor] => {
    const derived = trained[`${name}.${R}`];
    if (derived) return [`${name}.${R}`, derived];
    const projections = frozen[`${name}.${P}`]!;
    const [u, rank] = projections.shape as [number, number, number];
    const flat = vectorOf(i)
      .reshape([1, u])
      .matmul(projections.reshape([u, rank * rank]));
    return [`${name}.${R}`, flat.reshape([rank, rank])];
  });
  return { trained: { ...trained, ...Object.fromEntries(made) }, frozen };
}

function vectorsOf({ targets }: AdapterPlan, trained: Named, config: TinyLoraConfig): (target: number) => Tensor {
  const groups = groupsOf(targets.length, config);
  const size = Math.max(1, Math.floor(targets.length / groups));
  return (target) => trained[`${VECTORS}${Math.min(Math.floor(target / size), groups - 1)}`]!;
}
