import { stopGradient, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, number, type Read } from '@posttrain/interfaces';
import { applyLinear } from '@posttrain/lm';
import { denseOf, rowsOf, singularOf, toTensor, turned } from '../adapters/dense.js';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith } from '../adapters/initial.js';
import { type AdapterTarget, type LayerMethod, linearShape } from '../adapters/layer-method.js';
import { methodOptions, orNull, targetOptions } from '../adapters/method-options.js';

const osfOptions = methodOptions('OSF', {
  ...targetOptions,
  /** Singular directions of a weight that are kept: a whole number, or below 1 a share of the smaller side. Default: half of that side. */
  effectiveRank: orNull(number({ above: 0 })),
  /** Start from the weight's own directions, so that the model starts as it is. False: random, for tests. Default true. */
  initWeights: boolean({ default: true }),
});
/** Options of `osf`, complete, by PEFT's names in camel case. */
export type OsfConfig = Read<typeof osfOptions>;

const LLAMA = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'down_proj', 'up_proj'];
const MODEL_TYPES = ['llama', 'mistral', 'mixtral', 'gemma', 'gemma2', 'gemma3_text', 'qwen2', 'qwen3'];
const JOINED = ['query_key_value', 'dense_4h_to_h'];

const [U, S, V] = ['osf_svd_params.U_low', 'osf_svd_params.S_low', 'osf_svd_params.V_low'] as const;
const [U_HIGH, V_HIGH, LOW] = ['osf_U_high', 'osf_V_high', 'osf_low'] as const;

/**
 * OSF, orthogonal subspace fine-tuning (arXiv 2504.07097): of W = U S Vᵀ the first k singular directions, in which earlier tasks live, stay as they are,
 * and the rest U_low [out, n − k], S_low [n − k], V_low [n − k, in] is trained whole: y = W x + b + (U_low S_low V_low − their product at the start) x.
 * Gradients of U_low and V_low lose what lies along the kept directions, G − U_k U_kᵀ G, before the optimizer sees them.
 *
 * For the next task the adapter is merged, and the next one begins with the decomposition of that. In float64 on the host, in a time
 * of the cube of the smaller side.
 */
export const osf: LayerMethod<OsfConfig> = {
  peftType: 'OSF',
  kinds: ['linear'],
  options: osfOptions,
  fileDefaults: { rank_pattern: null, target_svd_config: null },
  fanInFanOut: false,
  defaultTargets: {
    ...Object.fromEntries(MODEL_TYPES.map((type) => [type, LLAMA])),
    gpt2: ['c_attn', 'c_proj'],
    ...{ gpt_neox: JOINED, falcon: JOINED, bloom: JOINED },
    opt: ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc1', 'fc2'],
  },

  check(config, targets) {
    for (const target of targets) {
      const few = Math.min(target.inFeatures, target.outFeatures);
      const kept = keptOf(target, config);
      if (target.transposed) {
        throw new AdapterConfigError(`${target.name} is a Conv1D, which OSF does not enter, as in PEFT`);
      }
      if (Number.isInteger(kept) && kept >= 1 && kept < few) continue;
      throw new AdapterConfigError(
        `${target.name}: effectiveRank keeps ${kept} of ${few} directions; keep at least one, and leave one to train`,
      );
    }
  },

  parameters(target, config) {
    const { inputs, outputs } = linearShape(target);
    return (Math.min(inputs, outputs) - keptOf(target, config)) * (inputs + outputs + 1);
  },

  init: () => ({}),

  async prepare(target, config, { key }) {
    const { u, values, v } = singularOf(await denseOf(target.weight));
    const [kept, all] = [keptOf(target, config), values.length];
    const own: Named = {
      [U]: toTensor(turned(rowsOf(u, kept, all))),
      [S]: toTensor({ rows: 1, columns: all - kept, values: values.slice(kept) }).reshape([all - kept]),
      [V]: toTensor(rowsOf(v, kept, all)),
    };
    const random = () => Object.entries(own).map(([name, x], i) => [name, normalWith(key.child(i), x.shape)] as const);
    const frozen = {
      [U_HIGH]: toTensor(turned(rowsOf(u, 0, kept))),
      [V_HIGH]: toTensor(rowsOf(v, 0, kept)),
      [LOW]: own[U]!.mul(own[S]!.expandDims(0)).matmul(own[V]!),
    };
    return { trained: config.initWeights ? own : Object.fromEntries(random()), frozen };
  },

  apply(x, layer, parameters) {
    const { [U_HIGH]: uHigh, [V_HIGH]: vHigh, [LOW]: low } = parameters;
    const u = across(parameters[U]!, (y) => uHigh!.matmul(uHigh!.matmul(y, { transposeA: true })));
    const v = across(parameters[V]!, (y) => y.matmul(vHigh!, { transposeB: true }).matmul(vHigh!));
    const narrow = applyLinear(x, v, undefined, false).mul(parameters[S]!);
    return layer
      .apply(x)
      .add(applyLinear(narrow, u, undefined, false))
      .sub(applyLinear(x, low!, undefined, false));
  },

  merge: (target, parameters) => changed(target, parameters, 1),
  unmerge: (merged, parameters) => changed(merged, parameters, -1),
};

/** x, of whose gradient a projection is taken away. */
const across = (x: Tensor, projection: (y: Tensor) => Tensor): Tensor => {
  const kept = projection(x);
  return x.sub(kept).add(stopGradient(kept));
};

function changed({ weight, bias }: AdapterTarget, parameters: Named, sign: 1 | -1) {
  const low = parameters[U]!.mul(parameters[S]!.expandDims(0)).matmul(parameters[V]!);
  return { weight: weight.add(low.sub(parameters[LOW]!).mul(sign)), bias };
}

function keptOf(
  { inFeatures, outFeatures }: Pick<AdapterTarget, 'inFeatures' | 'outFeatures'>,
  { effectiveRank: rank }: OsfConfig,
): number {
  const few = Math.min(inFeatures, outFeatures);
  if (rank === null) return Math.floor(few / 2);
  return rank < 1 ? Math.floor(few * rank) : rank;
}
