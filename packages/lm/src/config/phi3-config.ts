import { PosttrainError } from '@posttrain/interfaces';
import type { JsonObject } from '../files.js';
import {
  ACTIVATIONS,
  type CommonConfig,
  decoderToJson,
  type HeadSizes,
  parseCommon,
  parseHeads,
  parseLayers,
} from './common-config.js';
import { Fields } from './fields.js';
import { refuseOtherLayerTypes } from './refused-keys.js';

/**
 * Rotary positions stretched by a factor per pair (LongRoPE, arXiv 2402.13753): angle of pair i at position m is
 * m / (factor_i · theta^(2i / width)), and cos and sin are multiplied by a constant. There are two lists of factors: `short`
 * for sequences of up to `originalMaxPositionEmbeddings` tokens, `long` for longer ones.
 */
export interface LongRope {
  readonly type: 'longrope';
  readonly theta: number;
  readonly shortFactor: readonly number[];
  readonly longFactor: readonly number[];
  /** The constant; where the file does not say, √(1 + ln(stretch) / ln(originalMaxPositionEmbeddings)). */
  readonly attentionFactor: number;
  readonly originalMaxPositionEmbeddings: number;
  /** The context with the long factors. */
  readonly extendedMaxPositionEmbeddings: number;
}

/** Phi-3 (arXiv 2404.14219), Phi-3.5, Phi-4 and Phi-4-mini. */
export interface Phi3Config extends CommonConfig, HeadSizes {
  readonly modelType: 'phi3';
  /** With `longrope` that of the factors in use: see `longContext`. */
  readonly maxPositionEmbeddings: number;
  readonly rmsNormEps: number;
  readonly rope: { readonly type: 'default'; readonly theta: number } | LongRope;
  /** The share of each head's components, from the first on, that turns. */
  readonly partialRotaryFactor: number;
  /** Of every layer: a query at position i sees keys j with i - slidingWindow < j <= i. */
  readonly slidingWindow: number | undefined;
  /** Whether the long factors of `longrope` are used, for all sequences alike. No file says it: see `withLongContext`. */
  readonly longContext: boolean;
}

/** What transformers takes for absent keys. */
const PHI3_DEFAULTS: JsonObject = {
  vocab_size: 32064,
  hidden_size: 3072,
  intermediate_size: 8192,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  max_position_embeddings: 4096,
  original_max_position_embeddings: 4096,
  bos_token_id: 1,
  eos_token_id: 32000,
  pad_token_id: 32000,
};

/** The number of components of a head that turn. */
export const rotaryWidth = ({ headDim, partialRotaryFactor }: Pick<Phi3Config, 'headDim' | 'partialRotaryFactor'>) =>
  Math.trunc(headDim * partialRotaryFactor);

export function parsePhi3(given: Fields): Phi3Config {
  const fields = given.withDefaults(PHI3_DEFAULTS);
  const heads = parseHeads(fields);
  const { rope, partialRotaryFactor } = parsePhi3Rope(fields, heads.headDim);
  const numHiddenLayers = parseLayers(fields);
  const slidingWindow = fields.optionalSize('sliding_window');
  refuseOtherLayerTypes(fields, slidingWindow === undefined ? 'full_attention' : 'sliding_attention');
  const maxPositionEmbeddings = rope.type === 'default' ? fields.size('max_position_embeddings') : shortContext(rope);
  return {
    modelType: 'phi3',
    ...parseCommon(fields, { ...heads, numHiddenLayers, maxPositionEmbeddings }),
    ...heads,
    intermediateSize: fields.size('intermediate_size'),
    hiddenAct: fields.oneOf('hidden_act', ACTIVATIONS, 'silu'),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', false),
    rmsNormEps: fields.positive('rms_norm_eps', 1e-5),
    rope,
    partialRotaryFactor,
    slidingWindow,
    longContext: false,
  };
}

const shortContext = ({ originalMaxPositionEmbeddings, extendedMaxPositionEmbeddings }: LongRope): number =>
  Math.min(originalMaxPositionEmbeddings, extendedMaxPositionEmbeddings);

function parsePhi3Rope(fields: Fields, headDim: number): Pick<Phi3Config, 'rope' | 'partialRotaryFactor'> {
  const object = fields.object('rope_scaling') ?? fields.object('rope_parameters') ?? {};
  const rope = new Fields(`${fields.path} (rope parameters)`, object);
  const theta = rope.positive('rope_theta', fields.positive('rope_theta', 10000));
  const partialRotaryFactor = rope.positive('partial_rotary_factor', fields.positive('partial_rotary_factor', 1));
  const width = rotaryWidth({ headDim, partialRotaryFactor });
  if (width < 2 || width > headDim || width % 2 !== 0) {
    rope.fail('partial_rotary_factor', `such that an even number of the ${headDim} components of a head turn`);
  }
  // The first Phi-3 folders have `type` su, some have yarn, and both mean longrope.
  const type = rope.oneOf(
    rope.has('rope_type') ? 'rope_type' : 'type',
    ['default', 'longrope', 'su', 'yarn'],
    'default',
  );
  if (type === 'default') return { rope: { type, theta }, partialRotaryFactor };
  const factors = (name: string): number[] => {
    const list = rope.raw(name);
    const isFactor = (factor: unknown) => typeof factor === 'number' && factor > 0;
    if (!Array.isArray(list) || list.length !== width / 2 || !list.every(isFactor)) {
      rope.fail(name, `a list of ${width / 2} positive numbers, one for each pair that turns`);
    }
    return list as number[];
  };
  const original = fields.size('original_max_position_embeddings');
  const extended = fields.size('max_position_embeddings');
  const computed = attentionFactorOf(rope.positive('factor', extended / original), original);
  return {
    rope: {
      type: 'longrope',
      theta,
      shortFactor: factors('short_factor'),
      longFactor: factors('long_factor'),
      attentionFactor: rope.positive('attention_factor', computed),
      originalMaxPositionEmbeddings: original,
      extendedMaxPositionEmbeddings: extended,
    },
    partialRotaryFactor,
  };
}

/** What cos and sin are multiplied by for a context `stretch` times the original one. */
export const attentionFactorOf = (stretch: number, original: number): number =>
  stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original));

/**
 * The config of a Phi-3 with `longrope` that takes sequences of any length up to its extended context, with the long
 * factors for all of them. Otherwise it takes those of the original context, with the short factors. transformers
 * chooses by the longest sequence in the batch, and computes the cache anew where a generation goes beyond the original
 * context; here what a sequence is given does not depend on others, nor change while it grows.
 *
 * @throws PosttrainError `LONG_CONTEXT` for a model that has no such factors
 */
export function withLongContext<Config extends { readonly modelType: string }>(
  config: Config | Phi3Config,
): Phi3Config {
  const phi3 = config as Phi3Config;
  if (phi3.modelType !== 'phi3' || phi3.rope.type !== 'longrope') {
    throw new PosttrainError(
      'LONG_CONTEXT',
      `longContext is for models whose rotary positions have factors for long sequences (Phi-3 with longrope), which this ${config.modelType} has not: leave it out.`,
    );
  }
  return { ...phi3, longContext: true, maxPositionEmbeddings: phi3.rope.extendedMaxPositionEmbeddings };
}

export function phi3ToJson(config: Phi3Config): JsonObject {
  const { rope } = config;
  const isLong = rope.type === 'longrope';
  const own = { rope_theta: rope.theta, partial_rotary_factor: config.partialRotaryFactor };
  return {
    ...decoderToJson(config),
    ...(isLong && { max_position_embeddings: rope.extendedMaxPositionEmbeddings }),
    sliding_window: config.slidingWindow ?? null,
    ...own,
    ...(isLong ? longRopeToJson(rope, own) : { rope_parameters: { rope_type: 'default', ...own } }),
  };
}

function longRopeToJson(rope: LongRope, own: JsonObject): JsonObject {
  const { originalMaxPositionEmbeddings: original, extendedMaxPositionEmbeddings: extended, attentionFactor } = rope;
  const factors = {
    short_factor: rope.shortFactor,
    long_factor: rope.longFactor,
    // transformers 4 wants three keys in rope_scaling, and no other.
    ...(attentionFactor !== attentionFactorOf(extended / original, original) && { attention_factor: attentionFactor }),
  };
  return {
    original_max_position_embeddings: original,
    rope_scaling: { type: 'longrope', ...factors },
    rope_parameters: { rope_type: 'longrope', ...own, ...factors },
  };
}
