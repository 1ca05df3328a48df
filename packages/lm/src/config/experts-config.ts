import type { JsonObject } from '../files.js';
import type { Fields } from './fields.js';

/** The mixture of experts of a decoder (arXiv 1701.06538): Mixtral (arXiv 2401.04088), Qwen3-MoE (arXiv 2505.09388). */
export interface ExpertsConfig {
  /** Experts in a layer. */
  readonly count: number;
  /** Experts that each token goes to. */
  readonly perToken: number;
  /** Width inside one expert; dense layers have the model's `intermediateSize`. */
  readonly intermediateSize: number;
  /** Whether the weights of a token's experts are made to sum to 1. */
  readonly normalizeWeights: boolean;
  /** For each layer, whether it has experts instead of one MLP. */
  readonly sparseLayers: readonly boolean[];
  /** What training adds of `loadBalancingLoss` where `outputRouterLogits` says so. */
  readonly auxiliaryLossCoefficient: number;
  /** Whether training adds it, as in transformers. Scoring and generation do not. */
  readonly outputRouterLogits: boolean;
}

/** Of one layer, many times what any model has. */
const MOST_EXPERTS = 100_000;

/** Reads the experts of a `mixtral` or `qwen3_moe` config; undefined when no layer has any. */
export function parseExpertsConfig(
  fields: Fields,
  modelType: 'mixtral' | 'qwen3_moe',
  layers: number,
): ExpertsConfig | undefined {
  const isMixtral = modelType === 'mixtral';
  // transformers 5 has one name for both families.
  const named = fields.raw('num_local_experts') === undefined ? 'num_experts' : 'num_local_experts';
  const count = fields.size(named, isMixtral ? 8 : 128, MOST_EXPERTS);
  const perToken = fields.size('num_experts_per_tok', isMixtral ? 2 : 8);
  if (perToken > count) fields.fail('num_experts_per_tok', `at most ${named} (${count})`);
  if (isMixtral && fields.number('router_jitter_noise', 0) !== 0) {
    fields.fail('router_jitter_noise', '0 (nothing else is supported)');
  }
  const step = isMixtral ? 1 : fields.size('decoder_sparse_step', 1);
  const dense = isMixtral ? [] : (fields.raw('mlp_only_layers') ?? []);
  if (!Array.isArray(dense)) fields.fail('mlp_only_layers', 'a list of layer indices');
  const sparseLayers = Array.from({ length: layers }, (_, layer) => !dense.includes(layer) && (layer + 1) % step === 0);
  if (!sparseLayers.includes(true)) return undefined;
  return {
    count,
    perToken,
    intermediateSize: isMixtral ? fields.size('intermediate_size') : fields.size('moe_intermediate_size', 768),
    normalizeWeights: isMixtral || fields.boolean('norm_topk_prob', false),
    sparseLayers,
    auxiliaryLossCoefficient: fields.number('router_aux_loss_coef', 0.001),
    outputRouterLogits: fields.boolean('output_router_logits', false),
  };
}

/** The inverse, in the keys of transformers 4 and 5. */
export function expertsConfigToJson(
  modelType: 'mixtral' | 'qwen3_moe',
  experts: ExpertsConfig | undefined,
  layers: number,
): JsonObject {
  if (!experts) return { mlp_only_layers: Array.from({ length: layers }, (_, layer) => layer) };
  const { count, perToken, intermediateSize, normalizeWeights, sparseLayers } = experts;
  return {
    num_local_experts: count,
    num_experts_per_tok: perToken,
    router_aux_loss_coef: experts.auxiliaryLossCoefficient,
    output_router_logits: experts.outputRouterLogits,
    ...(modelType === 'qwen3_moe' && {
      num_experts: count,
      moe_intermediate_size: intermediateSize,
      norm_topk_prob: normalizeWeights,
      decoder_sparse_step: 1,
      mlp_only_layers: sparseLayers.flatMap((sparse, layer) => (sparse ? [] : [layer])),
    }),
  };
}
