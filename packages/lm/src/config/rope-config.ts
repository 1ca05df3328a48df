import { InvalidModelFileError, isJsonObject, type JsonObject } from '../files.js';
import { Fields } from './fields.js';

/**
 * Rotary position embedding (arXiv 2104.09864): angle of pair i at position m is m / theta^(2i / headDim), changed by
 * the type: `linear` divides every frequency by `factor` (arXiv 2306.15595); `llama3` divides low frequencies by it,
 * keeps high ones and interpolates between (arXiv 2407.21783).
 */
export type RopeConfig =
  | { readonly type: 'default'; readonly theta: number }
  | { readonly type: 'linear'; readonly theta: number; readonly factor: number }
  | {
      readonly type: 'llama3';
      readonly theta: number;
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositionEmbeddings: number;
    };

/** Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before). */
export function parseRopeConfig(fields: Fields, maxPositionEmbeddings: number): RopeConfig {
  const object = fields.object('rope_scaling') ?? fields.object('rope_parameters') ?? {};
  if (Object.values(object).some(isJsonObject)) {
    throw new InvalidModelFileError(fields.path, 'rope_parameters differ by layer type, which is not supported.');
  }
  const rope = new Fields(`${fields.path} (rope parameters)`, object);
  const theta = rope.positive('rope_theta', fields.positive('rope_theta', 10000));
  const partial = fields.number('partial_rotary_factor', 1);
  return readRope(rope.withDefaults({ rope_theta: theta, partial_rotary_factor: partial }), maxPositionEmbeddings);
}

/** Reads one object of RoPE parameters, which has its `rope_theta`. */
export function readRope(rope: Fields, maxPositionEmbeddings: number): RopeConfig {
  const theta = rope.positive('rope_theta');
  const partial = rope.number('partial_rotary_factor', 1);
  if (partial !== 1) {
    throw new InvalidModelFileError(rope.path, `partial_rotary_factor ${partial} is not supported (only 1 is).`);
  }
  const type: unknown = rope.raw('rope_type') ?? rope.raw('type') ?? 'default';
  switch (type) {
    case 'default':
      return { type, theta };
    case 'linear':
      return { type, theta, factor: rope.positive('factor') };
    case 'llama3':
      return {
        type,
        theta,
        factor: rope.positive('factor'),
        lowFreqFactor: rope.positive('low_freq_factor'),
        highFreqFactor: rope.positive('high_freq_factor'),
        originalMaxPositionEmbeddings: rope.size('original_max_position_embeddings', maxPositionEmbeddings),
      };
    default:
      throw new InvalidModelFileError(
        rope.path,
        `RoPE scaling of type ${JSON.stringify(type)} is not supported; default, linear and llama3 are.`,
      );
  }
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
  if (rope.type === 'default') return { rope_type: 'default' };
  if (rope.type === 'linear') return { rope_type: 'linear', factor: rope.factor };
  return {
    rope_type: 'llama3',
    factor: rope.factor,
    low_freq_factor: rope.lowFreqFactor,
    high_freq_factor: rope.highFreqFactor,
    original_max_position_embeddings: rope.originalMaxPositionEmbeddings,
  };
}
