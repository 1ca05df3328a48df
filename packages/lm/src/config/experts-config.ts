import type { JsonObject } from '../files.js';
import type { Fields } from './fields.js';

/** Module paths of a mixture in a block. Those of an expert are behind `${module}.experts.${expert}`. */
export interface ExpertNames {
  readonly module: string;
  /** In `module`. */
  readonly router: string;
  /** What is added to scores to choose experts by, [experts], in `module`. Left out: nothing. */
  readonly bias?: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
  /** A gated MLP that every token goes to, in `module`, and the layer whose sigmoid its output is multiplied by. */
  readonly shared?: string;
  readonly sharedGate?: string;
  /** In files that have all experts of a layer in one tensor. Left out: each expert has its own. */
  readonly fused?: FusedExperts;
}

/** How files have the experts of a layer in one tensor. */
export interface FusedExperts {
  /** The tensors of `module` with the weights: gate and up projections together, and the down projections. */
  readonly gateUp: string;
  readonly down: string;
  /** The same of the biases, [experts, out]. Left out: there are none. */
  readonly gateUpBias?: string;
  readonly downBias?: string;
  /** The matrix of an expert is [out, in], or [in, out] where this is true. */
  readonly transposed: boolean;
  /** Outputs of gate and up take turns; otherwise they stand one behind the other. */
  readonly interleaved: boolean;
}

/** The names of Qwen2-MoE and most others. */
export const EXPERT_NAMES = {
  ...{ module: 'mlp', router: 'gate', gate: 'gate_proj', up: 'up_proj', down: 'down_proj' },
} as const satisfies ExpertNames;

/** The names of Mixtral. */
export const MIXTRAL_NAMES = {
  ...{ module: 'block_sparse_moe', router: 'gate', gate: 'w1', up: 'w3', down: 'w2' },
} as const satisfies ExpertNames;

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
  /** How a router's logits become experts and their weights. Left out: see `mixtureOfExperts`. */
  readonly routing?: Routing;
  /** Width inside the MLP that every token goes to. Left out: there is none. */
  readonly sharedSize?: number;
  /** Whether routers and experts have biases. Left out: they have none. */
  readonly biases?: boolean;
  /** In the place of act(gate) · up: see `clampedSwiglu`. */
  readonly clamped?: { readonly alpha: number; readonly limit: number };
  /** For each layer, whether it has experts instead of one MLP. */
  readonly sparseLayers: readonly boolean[];
  /** What training adds of `loadBalancingLoss` where `outputRouterLogits` says so. */
  readonly auxiliaryLossCoefficient: number;
  /** Whether training adds it, as in transformers. Scoring and generation do not. */
  readonly outputRouterLogits: boolean;
}

/** How experts are chosen. `sparsemixer`: two experts, each with the softmax of what is within 2 · `noise` of the best of those that are left (arXiv 2409.12136). */
export type Routing = { readonly type: 'sparsemixer'; readonly noise: number } | GroupedRouting;

/**
 * `grouped` (arXiv 2405.04434, arXiv 2412.19437): the experts are in `groups` alike, and a token's are of the `chosen` best of them,
 * a group being as good as the sum of its `best` best scores. Scores are the softmax or the sigmoid of the logits, to which `names.bias`
 * is added to choose by; weights are the scores, normalised where `normalizeWeights` says so, times `factor`.
 */
export interface GroupedRouting {
  readonly type: 'grouped';
  readonly scores: 'softmax' | 'sigmoid';
  readonly groups: number;
  readonly chosen: number;
  readonly best: number;
  readonly factor: number;
}

/** Of one layer, many times what any model has. */
const MOST_EXPERTS = 100_000;

interface Mixture extends Pick<ExpertsConfig, 'intermediateSize' | 'normalizeWeights'> {
  /** The key of their number, and the number where the file does not say. */
  readonly count: readonly [key: string, otherwise?: number];
  readonly perToken?: number;
  /** Which layers have them. Default: all. */
  readonly sparse?: (layer: number) => boolean;
  readonly lossCoefficient?: number;
}

/** Reads what all mixtures say in the same words. */
export function readMixture(fields: Fields, layers: number, given: Mixture): ExpertsConfig {
  const { count: counted, perToken: otherwise, sparse = () => true, lossCoefficient = 0.001, ...own } = given;
  const count = fields.size(...counted, MOST_EXPERTS);
  const perToken = fields.size('num_experts_per_tok', otherwise);
  if (perToken > count) fields.fail('num_experts_per_tok', `at most ${counted[0]} (${count})`);
  return {
    count,
    perToken,
    ...own,
    sparseLayers: Array.from({ length: layers }, (_, layer) => sparse(layer)),
    auxiliaryLossCoefficient: fields.number('router_aux_loss_coef', lossCoefficient),
    outputRouterLogits: fields.boolean('output_router_logits', false),
  };
}

/** Which layers of a Qwen mixture have experts: every `decoder_sparse_step`th, but for `mlp_only_layers`. */
export function sparseBySteps(fields: Fields): (layer: number) => boolean {
  const step = fields.size('decoder_sparse_step', 1);
  const dense = fields.raw('mlp_only_layers') ?? [];
  if (!Array.isArray(dense)) fields.fail('mlp_only_layers', 'a list of layer indices');
  return (layer) => !dense.includes(layer) && (layer + 1) % step === 0;
}

/** Reads the experts of a `mixtral` or `qwen3_moe` config; undefined when no layer has any. */
export function parseExpertsConfig(
  fields: Fields,
  modelType: 'mixtral' | 'qwen3_moe',
  layers: number,
): ExpertsConfig | undefined {
  const isMixtral = modelType === 'mixtral';
  // transformers 5 has one name for both families.
  const named = fields.raw('num_local_experts') === undefined ? 'num_experts' : 'num_local_experts';
  if (isMixtral && fields.number('router_jitter_noise', 0) !== 0) {
    fields.fail('router_jitter_noise', '0 (nothing else is supported)');
  }
  const experts = readMixture(fields, layers, {
    count: [named, isMixtral ? 8 : 128],
    perToken: isMixtral ? 2 : 8,
    intermediateSize: isMixtral ? fields.size('intermediate_size') : fields.size('moe_intermediate_size', 768),
    normalizeWeights: isMixtral || fields.boolean('norm_topk_prob', false),
    ...(!isMixtral && { sparse: sparseBySteps(fields) }),
  });
  return experts.sparseLayers.includes(true) ? experts : undefined;
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
