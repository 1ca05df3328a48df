import { InvalidModelFileError, isJsonObject, type JsonObject } from '../files.js';
import { Fields } from './fields.js';

/**
 * Rotary position embedding (arXiv 2104.09864): angle of pair i at position m is m / theta^(2i / headDim), changed by
 * the type: `linear` divides every frequency by `factor` (arXiv 2306.15595); `llama3` divides low frequencies by it,
 * keeps high ones and interpolates between (arXiv 2407.21783); `yarn` does so by the number of turns in the original
 * context, and multiplies cos and sin (arXiv 2309.00071); `dynamic` changes nothing within `max_position_embeddings`, and
 * longer sequences are refused.
 */
export type RopeConfig =
  | { readonly type: 'default'; readonly theta: number }
  | { readonly type: 'linear'; readonly theta: number; readonly factor: number }
  | { readonly type: 'dynamic'; readonly theta: number; readonly factor: number }
  | {
      readonly type: 'llama3';
      readonly theta: number;
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositionEmbeddings: number;
    }
  | YarnRope;

/** YaRN (arXiv 2309.00071). */
export interface YarnRope {
  readonly type: 'yarn';
  readonly theta: number;
  readonly factor: number;
  /** What cos and sin are multiplied by; where the file does not say, 0.1 · ln(factor) + 1. */
  readonly attentionFactor: number;
  /** Turns in the original context above which a frequency stays as it is, and below which it is divided by `factor`. */
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Whether the bounds between which frequencies are mixed are whole pairs. */
  readonly truncate: boolean;
  readonly originalMaxPositionEmbeddings: number;
}

/**
 * Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before). With `partial`, a part of each head may turn,
 * which the caller reads.
 */
export function parseRopeConfig(
  fields: Fields,
  maxPositionEmbeddings: number,
  defaultTheta = 10000,
  { partial: partialDefault }: { readonly partial?: number | undefined } = {},
): RopeConfig {
  const object = fields.object('rope_scaling') ?? fields.object('rope_parameters') ?? {};
  if (Object.values(object).some(isJsonObject)) {
    throw new InvalidModelFileError(fields.path, 'rope_parameters differ by layer type, which is not supported.');
  }
  const rope = new Fields(`${fields.path} (rope parameters)`, object);
  const theta = rope.positive('rope_theta', fields.positive('rope_theta', defaultTheta));
  const partial = partialDefault === undefined ? fields.number('partial_rotary_factor', 1) : 1;
  const whole = rope.withDefaults({ rope_theta: theta, partial_rotary_factor: partial });
  // Beside the parameters it counts more than in them, as in transformers.
  const original = fields.optionalSize('original_max_position_embeddings');
  return readRope(
    original === undefined ? whole : whole.with({ original_max_position_embeddings: original }),
    maxPositionEmbeddings,
    partialDefault !== undefined,
  );
}

/**
 * Reads one object of RoPE parameters, which has its `rope_theta`. Only where `isPartial`, a part of each head may turn, which
 * the caller reads.
 */
export function readRope(rope: Fields, maxPositionEmbeddings: number, isPartial = false): RopeConfig {
  const theta = rope.positive('rope_theta');
  const partial = isPartial ? 1 : rope.number('partial_rotary_factor', 1);
  if (partial !== 1) {
    throw new InvalidModelFileError(rope.path, `partial_rotary_factor ${partial} is not supported (only 1 is).`);
  }
  const type: unknown = rope.raw('rope_type') ?? rope.raw('type') ?? 'default';
  const original = () => rope.size('original_max_position_embeddings', maxPositionEmbeddings);
  switch (type) {
    case 'default':
      return { type, theta };
    case 'linear':
    case 'dynamic':
      return { type, theta, factor: rope.positive('factor') };
    case 'llama3':
      return {
        type,
        theta,
        factor: rope.positive('factor'),
        lowFreqFactor: rope.positive('low_freq_factor'),
        highFreqFactor: rope.positive('high_freq_factor'),
        originalMaxPositionEmbeddings: original(),
      };
    case 'yarn':
      return readYarn(rope, theta, original(), maxPositionEmbeddings);
    default:
      throw new InvalidModelFileError(
        rope.path,
        `RoPE scaling of type ${JSON.stringify(type)} is not supported; default, linear, dynamic, llama3 and yarn are.`,
      );
  }
}

function readYarn(rope: Fields, theta: number, original: number, maxPositionEmbeddings: number): YarnRope {
  const factor = rope.positive('factor', maxPositionEmbeddings / original);
  const [mscale, mscaleAllDim] = [rope.number('mscale', 0), rope.number('mscale_all_dim', 0)];
  const scaleOf = (mscale: number) => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1);
  const computed = mscale !== 0 && mscaleAllDim !== 0 ? scaleOf(mscale) / scaleOf(mscaleAllDim) : scaleOf(1);
  // 0 counts as absent, as in Python's `or`.
  const beta = (name: string, otherwise: number) => rope.number(name, otherwise) || otherwise;
  return {
    type: 'yarn',
    theta,
    factor,
    attentionFactor: rope.number('attention_factor', computed),
    betaFast: beta('beta_fast', 32),
    betaSlow: beta('beta_slow', 1),
    truncate: rope.boolean('truncate', true),
    originalMaxPositionEmbeddings: original,
  };
}

/** The inverse: the keys of transformers 5 and, for older readers, those before. */
export function ropeConfigToJson(rope: RopeConfig): JsonObject {
  const scaling = scalingToJson(rope);
  return {
    rope_theta: rope.theta,
    rope_parameters: ropeToJson(rope),
    ...(rope.type === 'default' ? {} : { rope_scaling: scaling }),
  };
}

/** One object of RoPE parameters in the keys of transformers 5. */
export const ropeToJson = (rope: RopeConfig): JsonObject => ({ rope_theta: rope.theta, ...scalingToJson(rope) });

function scalingToJson(rope: RopeConfig): JsonObject {
  switch (rope.type) {
    case 'default':
      return { rope_type: 'default' };
    case 'linear':
    case 'dynamic':
      return { rope_type: rope.type, factor: rope.factor };
    case 'llama3':
      return {
        rope_type: 'llama3',
        factor: rope.factor,
        low_freq_factor: rope.lowFreqFactor,
        high_freq_factor: rope.highFreqFactor,
        original_max_position_embeddings: rope.originalMaxPositionEmbeddings,
      };
    case 'yarn':
      return {
        rope_type: 'yarn',
        factor: rope.factor,
        attention_factor: rope.attentionFactor,
        beta_fast: rope.betaFast,
        beta_slow: rope.betaSlow,
        truncate: rope.truncate,
        original_max_position_embeddings: rope.originalMaxPositionEmbeddings,
      };
  }
}
