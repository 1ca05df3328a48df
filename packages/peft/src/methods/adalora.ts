import { concat, dropout, iota, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, custom, integer, number, type Read } from '@posttrain/interfaces';
import { applyLinear, type ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { methodOptions, orNull } from '../adapters/method-options.js';
import { targetsBut } from '../adapters/targets.js';
import { rankAllocator } from '../optim/rank-allocator.js';
import { lora } from './lora.js';
import { warnOfUnused } from './lora-start.js';

const {
  r: _r,
  initLoraWeights: _init,
  rankPattern: _ranks,
  alphaPattern: _alphas,
  useDora: _dora,
  useRslora: _rslora,
  loraBias: _bias,
  aloraInvocationTokens: _invocation,
  ensureWeightTying: _tying,
  ...shared
} = lora.options.shape;

const adaLoraOptions = methodOptions('ADALORA', {
  ...shared,
  /** Rank of every update at the start. Default 12. */
  initR: integer({ default: 12, min: 1 }),
  /** Mean rank that is left at the end. Default 8. */
  targetR: integer({ default: 8, min: 1 }),
  /** Updates before the ranks begin to fall. Default 0. */
  tinit: integer({ default: 0, min: 0 }),
  /** Updates at the end of which the ranks stay as they are. Default 0. */
  tfinal: integer({ default: 0, min: 0 }),
  /** Updates from one allocation to the next. Default 1. */
  deltaT: integer({ default: 1, min: 1 }),
  /** Smoothing of the sensitivity. Default 0.85. */
  beta1: number({ default: 0.85, above: 0, below: 1 }),
  /** Smoothing of the uncertainty. Default 0.85. */
  beta2: number({ default: 0.85, above: 0, below: 1 }),
  /** Weight of the orthogonality penalty. Default 0.5. */
  orthRegWeight: number({ default: 0.5, min: 0 }),
  /** Updates of the whole run. It must be given. */
  totalStep: orNull(integer({ min: 1 })),
  /** Of files whose masked directions were cut off. Only null is supported: here they stay, as zeros. */
  rankPattern: custom<object | null>()('an object or null', (value) => typeof value === 'object', { default: null }),
  /** E starts at zero, and A and B normal with deviation 0.02. False: all normal with deviation 1, for tests. Default true. */
  initLoraWeights: boolean({ default: true }),
});
/** Options of `adaLora`, complete, by PEFT's names in camel case. */
export type AdaLoraConfig = Read<typeof adaLoraOptions>;

/** Of each of them the budget is known before the first. */
const MOST_STEPS = 1e7;

/**
 * AdaLoRA (arXiv 2303.10512): y = W x + b + (α / (r + 1e-5)) B diag(E) A x with A [r, in], E [r, 1], B [out, r] near orthogonal,
 * which a penalty sees to, and r the initial rank. While training, the directions with the least importance are masked (their E set
 * to zero) until `targetR` a module are left on the average: see `rankAllocator`, which the run's optimizer becomes.
 */
export const adaLora: LayerMethod<AdaLoraConfig> = {
  peftType: 'ADALORA',
  defaultTargets: targetsBut(['stablelm', 'phi', 'falcon'], {
    opt: ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc1', 'fc2'],
  }),
  kinds: ['linear'],
  options: adaLoraOptions,
  fileDefaults: {
    ...lora.fileDefaults,
    r: 8,
    alpha_pattern: {},
    alora_invocation_tokens: null,
    ensure_weight_tying: false,
    lora_bias: false,
    use_dora: false,
    use_rslora: false,
  },

  stochastic: ({ loraDropout }) => (loraDropout > 0 ? `loraDropout is ${loraDropout}` : undefined),

  async fromRows({ config }) {
    warnOfUnused(config, config.initLoraWeights);
    return undefined;
  },

  parameters(target, { initR }) {
    const { inputs, outputs } = linearShape(target);
    return initR * (inputs + outputs + 1);
  },

  check(config) {
    const { initR, targetR, tinit, tfinal, totalStep, rankPattern } = config;
    if (targetR > initR) throw new AdapterConfigError(`targetR ${targetR} is more than initR ${initR}`);
    if (totalStep === null || totalStep > MOST_STEPS) {
      throw new AdapterConfigError(
        `totalStep must be given, from 1 to ${MOST_STEPS}: the updates of the whole run, from which the ranks follow`,
      );
    }
    if (tinit >= totalStep - tfinal) {
      throw new AdapterConfigError(`tinit ${tinit} and tfinal ${tfinal} leave none of ${totalStep} steps between them`);
    }
    if (rankPattern !== null) {
      throw new AdapterConfigError(
        'rankPattern is not supported: save the adapter before PEFT cuts its masked directions off (rank_pattern null)',
      );
    }
  },

  init(target, { initR, initLoraWeights }, key) {
    const { inputs, outputs } = linearShape(target);
    const normal = (i: number, shape: readonly [number, number]) => {
      const deviation = initLoraWeights ? 0.02 : 1;
      return tensor(
        key
          .child(i)
          .normalHost(shape[0] * shape[1])
          .map((x) => x * deviation),
        [...shape],
      );
    };
    return {
      lora_A: normal(0, [initR, inputs]),
      lora_E: initLoraWeights ? zeros([initR, 1]) : normal(2, [initR, 1]),
      lora_B: normal(1, [outputs, initR]),
    };
  },

  apply(x, layer, parameters, config, dropoutKey) {
    const dropped = dropoutKey ? dropout(x, config.loraDropout, dropoutKey) : x;
    const narrow = applyLinear(dropped, scaledA(parameters), undefined, false).mul(scaleOf(config));
    return layer.apply(x).add(applyLinear(narrow, parameters.lora_B!, undefined, false));
  },

  lowRank: (_, parameters, config) => ({ a: scaledA(parameters), b: parameters.lora_B!, scale: scaleOf(config) }),

  merge: (target, parameters, config) => ({
    weight: target.weight.add(deltaOf(target, parameters, config)),
    bias: target.bias,
  }),

  unmerge: (merged, parameters, config) => ({
    weight: merged.weight.sub(deltaOf(merged, parameters, config)),
    bias: merged.bias,
  }),

  /** The mean of ‖A Aᵀ − I‖ and ‖Bᵀ B − I‖ (Frobenius) over all A and B, times `orthRegWeight`. */
  penalty(trained, { orthRegWeight }) {
    const norms = Object.entries(trained).flatMap(([name, factor]) => {
      const isA = name.endsWith('.lora_A');
      if (!isA && !name.endsWith('.lora_B')) return [];
      const gram = factor.matmul(factor, isA ? { transposeB: true } : { transposeA: true });
      return [distanceToIdentity(gram).reshape([1])];
    });
    return concat(norms, 0).mean().mul(orthRegWeight);
  },

  optimizer: (inner, config) => rankAllocator(inner, { ...config, totalStep: config.totalStep! }),
};

const scaleOf = ({ loraAlpha, initR }: AdaLoraConfig): number => loraAlpha / (initR + 1e-5);

/** diag(E) A. */
const scaledA = ({ lora_A: a, lora_E: e }: Named): Tensor => a!.mul(e!);

function deltaOf(module: ModuleInfo, parameters: Named, config: AdaLoraConfig): Tensor {
  const delta = parameters.lora_B!.matmul(scaledA(parameters)).mul(scaleOf(config));
  return linearShape(module).transposed ? delta.transpose() : delta;
}

/** ‖X − I‖ of a square X; with a gradient of 0, not of NaN, where X is I. */
function distanceToIdentity(x: Tensor): Tensor {
  const [n] = x.shape as [number, number];
  const identity = iota([n, n], 0)
    .equal(iota([n, n], 1))
    .cast(x.dtype);
  return x.sub(identity).square().sum().add(1e-30).sqrt();
}
