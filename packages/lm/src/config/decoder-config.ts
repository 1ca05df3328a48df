import type { JsonObject } from '../files.js';
import type { CommonConfig, HeadSizes, LayerType } from './common-config.js';
import type { ExpertNames, ExpertsConfig } from './experts-config.js';
import type { Recurrence } from './recurrence-config.js';
import type { RopeConfig } from './rope-config.js';

/** The `model_type`s of `decoders`. */
export const DECODER_TYPES = [
  ...(['smollm3', 'gemma', 'granite', 'glm', 'glm4', 'olmo', 'olmo3', 'cohere', 'cohere2', 'stablelm'] as const),
  ...([
    'starcoder2',
    'ministral',
    'ministral3',
    'exaone4',
    'internlm3',
    'phi',
    'gpt_neox',
    'falcon',
    'opt',
    'bloom',
  ] as const),
  ...(['qwen2_moe', 'olmoe', 'granitemoe', 'phimoe', 'gpt_oss'] as const),
  ...(['deepseek_v2', 'deepseek_v3', 'minicpm3', 'lfm2', 'mamba2', 'falcon_h1'] as const),
  ...(['qwen3_next', 'qwen3_5_text', 'qwen3_5_moe_text'] as const),
] as const;
/** The `model_type` of a family of `decoders`. */
export type DecoderType = (typeof DECODER_TYPES)[number];

/**
 * A normalisation: `rms` (arXiv 1910.07467) or `layer` (arXiv 1607.06450). With `plusOne` it multiplies by 1 + w; `bias` is of
 * `layer`; without `weight` it has no parameters at all.
 */
export interface NormConfig {
  readonly kind: 'rms' | 'layer';
  readonly epsilon: number;
  readonly plusOne: boolean;
  readonly bias: boolean;
  readonly weight: boolean;
}

/** Rotary positions of a decoder. */
export interface RotaryConfig {
  /** Of layers with full attention. */
  readonly rope: RopeConfig;
  /** Of layers with a sliding window. */
  readonly slidingRope: RopeConfig;
  /** How many components of a head turn, from the first on. */
  readonly width: number;
  /** Whether the file says how many. */
  readonly isPartial: boolean;
  /** Which components are a pair: i and i + width / 2 (`halves`), or 2i and 2i + 1 (`neighbours`). */
  readonly pairs: 'halves' | 'neighbours';
  /** Whether the file has an object of parameters for each type of layers. */
  readonly byType: boolean;
  /** Which layers turn at all; others know no positions (NoPE, arXiv 2305.19466). */
  readonly layers: readonly boolean[];
  /** Queries at position m are multiplied by 1 + beta · ln(1 + ⌊m / length⌋), as in Llama 4 and Ministral 3. */
  readonly growth?: { readonly beta: number; readonly length: number };
}

/**
 * Multi-head latent attention (arXiv 2405.04434): keys and values, and queries where they have a rank, come out of a vector of few
 * components, normalised. Of a head's query and key the last `turned` components turn, and all heads have those of the key in common.
 */
export interface LatentAttention {
  /** Of queries; left out where they are projected at once. */
  readonly queryRank?: number;
  readonly keyValueRank: number;
  /** Components of a head's query and key that do not turn, and those that do. */
  readonly still: number;
  readonly turned: number;
  /** Components of a head's value. */
  readonly value: number;
  /** Of the norms of the latents, which is not that of the others. */
  readonly epsilon: number;
  /** Biases of the projections into latents and of the output. */
  readonly bias: boolean;
  /** What the file says as `mscale_all_dim`. */
  readonly mscaleAllDim?: number;
}

/**
 * Gated short convolutions (LFM2, arXiv 2511.23404) in the place of attention: with (b, c, v) = in(x), y = out(c · conv(b · v)), each feature
 * over the last `taps` tokens.
 */
export interface ShortConvolution {
  /** Which layers have one. */
  readonly layers: readonly boolean[];
  readonly taps: number;
  readonly bias: boolean;
}

/** How queries and keys are normalised before they turn. */
export interface QueryKeyNorm {
  readonly norm: NormConfig;
  /** Each head with the same weights [headDim] (`head`), with its own [heads, headDim] (`each`), or all heads together (`all`). */
  readonly over: 'head' | 'each' | 'all';
}

/**
 * Module paths. Those of a block are behind `${blocks}.${layer}`. A norm that is left out is not there, nor is what it would
 * normalise changed.
 */
export interface DecoderNames {
  readonly embedding: string;
  /** The embedding of learned positions. */
  readonly positions?: string;
  readonly embeddingNorm?: string;
  readonly blocks: string;
  readonly finalNorm: string;
  readonly query: string;
  readonly key: string;
  readonly value: string;
  /** In the place of these three. */
  readonly queryKeyValue?: string;
  readonly output: string;
  /** The logits of attention sinks, [heads]: see `AttentionOptions`. Left out: there are none. */
  readonly sinks?: string;
  readonly queryNorm: string;
  readonly keyNorm: string;
  /** The gate of a gated MLP; left out in one that is not. With `gateUp`, gate and up are one projection of that name. */
  readonly gate?: string;
  readonly gateUp?: string;
  readonly up: string;
  readonly down: string;
  /** In the place of the MLP, in the layers that have experts. */
  readonly experts?: ExpertNames;
  /** What files call the output layer, which is `lm_head` here. Left out: that. */
  readonly storedHead?: string;
  readonly beforeAttention?: string;
  readonly afterAttention?: string;
  readonly beforeMlp?: string;
  readonly afterMlp?: string;
}

/** What a family of decoders says beside the sizes: see `DecoderConfig`. */
export interface DecoderShape {
  readonly norm: NormConfig;
  /** Left out: positions are learned, or `alibi`. */
  readonly rotary?: RotaryConfig;
  /** ALiBi (arXiv 2108.12409): scores fall linearly with the distance. */
  readonly alibi: boolean;
  /** Rows of the embedding of positions before that of position 0. */
  readonly positionOffset: number;
  /** One per layer. A sliding layer's query at position i sees keys j with i - slidingWindow < j <= i. */
  readonly layerTypes: readonly LayerType[];
  readonly slidingWindow: number | undefined;
  readonly biases: {
    readonly qkv: boolean;
    readonly output: boolean;
    readonly mlp: boolean;
    /** Of the output layer. */
    readonly head: boolean;
  };
  /**
   * Where the rows of `names.queryKeyValue` belong: for each group of a key/value head its queries, its key, its value
   * (`groups`), or all queries, all keys, all values (`parts`).
   */
  readonly joined: 'groups' | 'parts';
  readonly queryKeyNorm?: QueryKeyNorm;
  readonly convolution?: ShortConvolution;
  readonly recurrence?: Recurrence;
  /** Whether queries come with gates, head by head, whose sigmoid attention's output is multiplied by (arXiv 2505.06708). */
  readonly gatesAttention: boolean;
  /** Whether blocks have an MLP or experts behind attention. */
  readonly hasMlp: boolean;
  /** In the place of projections of queries, keys and values. */
  readonly latent?: LatentAttention;
  /** Queries and keys, normalised where they are, and values are cut off at ± this. */
  readonly clip?: number;
  /**
   * `sequential`: the MLP reads what attention has been added to. `parallel` (arXiv 2204.02311): it reads what attention reads,
   * through its own norm (`names.beforeMlp`) or the same.
   */
  readonly residual: 'sequential' | 'parallel';
  /** What embeddings, outputs of sublayers, scores and logits are multiplied by. */
  readonly factors: {
    readonly embedding: number;
    readonly residual: number;
    readonly scores: number;
    readonly logits: number;
    /** Of what attention reads and gives, of keys, and of an MLP's gate and output. Left out: 1. */
    readonly attention?: { readonly input: number; readonly keys: number; readonly output: number };
    readonly mlp?: { readonly gate: number; readonly output: number };
    /** Of virtual tokens, before that of embeddings: see `ModelFamily.virtualTokenFactor`. Left out: 1. */
    readonly virtualTokens?: number;
  };
  /** Of a mixture of experts. */
  readonly experts?: ExpertsConfig;
  readonly scoreCap?: number;
  readonly logitCap?: number;
  readonly names: DecoderNames;
}

/** A decoder of one of the families in `decoders`: attention and MLP in blocks, which differ in what this says. */
export interface DecoderConfig extends CommonConfig, HeadSizes, DecoderShape {
  readonly modelType: DecoderType;
  /** The keys of config.json that the family has read, by their names there, with the values that they had. */
  readonly keys: JsonObject;
}
