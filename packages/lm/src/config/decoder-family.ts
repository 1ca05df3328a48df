import type { JsonObject } from '../files.js';
import { type CommonConfig, type HeadSizes, type LayerType, parseLayerTypes } from './common-config.js';
import type { DecoderNames, DecoderShape, LatentAttention, NormConfig, RotaryConfig } from './decoder-config.js';
import { Fields } from './fields.js';
import { parseRopeConfig, type RopeConfig, readRope } from './rope-config.js';

/** The fields of a family's config.json under its own names for them, which remember what was read. */
export class DecoderFields extends Fields {
  readonly #names: Readonly<Record<string, string>>;
  readonly #read = new Map<string, unknown>();

  constructor(path: string, object: JsonObject, names: Readonly<Record<string, string>> = {}) {
    super(path, object);
    this.#names = names;
  }

  protected override nameOf(name: string): string {
    return this.#names[name] ?? name;
  }

  override raw(name: string): unknown {
    const value = super.raw(name);
    if (this.has(name)) this.#read.set(this.nameOf(name), value ?? null);
    return value;
  }

  // null for a number or a switch is not the default: transformers refuses it.
  override number(name: string, otherwise?: number): number {
    return super.number(name, this.#unlessNull(name, otherwise));
  }

  override positive(name: string, otherwise?: number): number {
    return super.positive(name, this.#unlessNull(name, otherwise));
  }

  override boolean(name: string, otherwise: boolean): boolean {
    if (this.#isNull(name)) this.fail(name, 'true or false');
    return super.boolean(name, otherwise);
  }

  /** A switch for which null means false. */
  flag(name: string): boolean {
    return !this.#isNull(name) && this.boolean(name, false);
  }

  #isNull(name: string): boolean {
    return this.has(name) && this.raw(name) === undefined;
  }

  #unlessNull(name: string, otherwise: number | undefined): number | undefined {
    return this.#isNull(name) ? undefined : otherwise;
  }

  /** What has been read so far, by the names in the file, but for what is written from elsewhere. */
  get seen(): JsonObject {
    return Object.fromEntries([...this.#read].filter(([name]) => !NOT_KEPT.has(name)));
  }

  /** Refuses a switch that is not as it must be. */
  only(name: string, supported: boolean): void {
    if (this.boolean(name, supported) !== supported) this.fail(name, `${supported} (nothing else is supported)`);
  }
}

/** What is written from elsewhere. */
const NOT_KEPT = new Set([
  ...['dtype', 'torch_dtype'],
  ...['rope_theta', 'rope_scaling', 'rope_parameters', 'partial_rotary_factor'],
  ...['rotary_pct', 'rotary_emb_base', 'original_max_position_embeddings'],
]);

/** The sizes that a family's `read` may need. */
export interface DecoderSizes extends HeadSizes {
  readonly layers: number;
  readonly maxPositionEmbeddings: number;
}

/** How a family differs: everything that its file may say is read here, or refused by name. */
export interface DecoderFamily {
  /** The class of transformers. */
  readonly architecture: string;
  /** The heads that transformers has classes for. */
  readonly classifiers: readonly ('sequence' | 'token')[];
  /** What transformers takes for keys that the file does not have. */
  readonly defaults: JsonObject;
  /** Older names of keys, which count as the newer ones. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** What the file calls a field, where it is not what most call it. */
  readonly keys?: Readonly<Record<string, string>>;
  /** Whether the file may say `head_dim` and `num_key_value_heads`. Default: both. */
  readonly says?: { readonly headDim?: boolean; readonly keyValueHeads?: boolean };
  /** What differs from Llama. */
  read(fields: DecoderFields, sizes: DecoderSizes): Differences;
}

/** What a family's file gives beside what its `defaults` and sizes say. */
export interface Differences
  extends Partial<Omit<DecoderShape, 'names' | 'norm'>>,
    Pick<DecoderShape, 'norm'>,
    Partial<Pick<CommonConfig, 'hiddenAct' | 'intermediateSize'>>,
    Partial<Pick<HeadSizes, 'numKeyValueHeads'>> {
  /** Keys that are written with other values than were read. */
  readonly written?: JsonObject;
  readonly names?: { readonly [Name in keyof DecoderNames]?: DecoderNames[Name] | undefined };
}

/** The names of Llama's modules. */
export const NAMES = {
  embedding: 'model.embed_tokens',
  blocks: 'model.layers',
  finalNorm: 'model.norm',
  query: 'self_attn.q_proj',
  key: 'self_attn.k_proj',
  value: 'self_attn.v_proj',
  output: 'self_attn.o_proj',
  queryNorm: 'self_attn.q_norm',
  keyNorm: 'self_attn.k_norm',
  gate: 'mlp.gate_proj',
  up: 'mlp.up_proj',
  down: 'mlp.down_proj',
  beforeAttention: 'input_layernorm',
  beforeMlp: 'post_attention_layernorm',
} as const satisfies DecoderNames;

/** OLMo 2 and what follows it: sublayers read the residual stream as it is, and norms come after them. */
export const NORMS_BEHIND = {
  beforeAttention: undefined,
  afterAttention: 'post_attention_layernorm',
  beforeMlp: undefined,
  afterMlp: 'post_feedforward_layernorm',
} as const;

export const rmsNorm = (fields: Fields, key = 'rms_norm_eps'): NormConfig => ({
  ...{ kind: 'rms', epsilon: fields.positive(key), plusOne: false, bias: false, weight: true },
});

export const layerNorm = (fields: Fields, key = 'layer_norm_eps', bias = true): NormConfig => ({
  ...{ kind: 'layer', epsilon: fields.positive(key), plusOne: false, bias, weight: true },
});

interface RotaryReading {
  /** The base where the file does not say. Default 10000. */
  readonly theta?: number;
  /** The share of a head that turns where the file does not say; left out where the family always turns whole heads. */
  readonly partial?: number;
  readonly pairs?: RotaryConfig['pairs'];
  readonly layers?: readonly boolean[];
}

/** Rotary positions in the words of transformers, of all layers alike. */
export function rotary(fields: Fields, sizes: DecoderSizes, reading: RotaryReading = {}): RotaryConfig {
  const { theta = 10000, partial, pairs = 'halves', layers } = reading;
  const rope = parseRopeConfig(fields, sizes.maxPositionEmbeddings, theta, { partial });
  const width = partial === undefined ? sizes.headDim : turnedWidth(fields, sizes.headDim, partial);
  if (rope.type === 'dynamic' && width < 4)
    fields.fail('rope_parameters', 'of another type than dynamic for a single pair');
  return {
    rope,
    slidingRope: rope,
    width,
    isPartial: partial !== undefined,
    pairs,
    byType: false,
    layers: layers ?? Array.from({ length: sizes.layers }, () => true),
  };
}

function turnedWidth(fields: Fields, headDim: number, otherwise: number): number {
  const object = fields.object('rope_scaling') ?? fields.object('rope_parameters') ?? {};
  const rope = new Fields(`${fields.path} (rope parameters)`, object);
  const share = rope.positive('partial_rotary_factor', fields.positive('partial_rotary_factor', otherwise));
  const width = Math.trunc(headDim * share);
  if (width >= 2 && width <= headDim && width % 2 === 0) return width;
  return rope.fail('partial_rotary_factor', `such that an even number of the ${headDim} components of a head turn`);
}

/**
 * Multi-head latent attention in the keys of DeepSeek, its rotary positions, and the factor of its scores: 1 / √(components of a query),
 * times the square of 0.1 · mscale_all_dim · ln(factor) + 1 where the file says that (arXiv 2405.04434, section 3.1.4).
 */
export function latentAttention(fields: DecoderFields, sizes: DecoderSizes, pairs: RotaryConfig['pairs']) {
  const queryRank = fields.optionalSize('q_lora_rank');
  const turned = fields.size('qk_rope_head_dim');
  const still = fields.size('qk_nope_head_dim');
  if (turned % 2 !== 0) fields.fail('qk_rope_head_dim', 'even, since rotary embeddings rotate pairs');
  if (sizes.numKeyValueHeads !== sizes.numAttentionHeads) {
    fields.fail('num_key_value_heads', `num_attention_heads (${sizes.numAttentionHeads})`);
  }
  const turning = rotary(fields, { ...sizes, headDim: turned }, { pairs });
  const object = fields.object('rope_scaling') ?? fields.object('rope_parameters') ?? {};
  const rope = new Fields(`${fields.path} (rope parameters)`, object);
  const mscaleAllDim = turning.rope.type === 'default' ? 0 : rope.number('mscale_all_dim', 0);
  const factor = mscaleAllDim === 0 ? 1 : rope.positive('factor');
  const grown = factor <= 1 ? 1 : 0.1 * mscaleAllDim * Math.log(factor) + 1;
  const latent: LatentAttention = {
    ...(queryRank !== undefined && { queryRank }),
    keyValueRank: fields.size('kv_lora_rank'),
    ...{ still, turned },
    value: fields.size('v_head_dim', sizes.hiddenSize / sizes.numAttentionHeads),
    // transformers gives these norms no other.
    epsilon: 1e-6,
    bias: fields.boolean('attention_bias', false),
    ...(mscaleAllDim !== 0 && { mscaleAllDim }),
  };
  const scores = grown ** 2 / Math.sqrt(still + turned);
  return { latent, rotary: turning, factors: { ...FACTORS, scores } };
}

/** Rotary positions of which layers with a sliding window have their own. */
export function rotaryByType(fields: Fields, sizes: DecoderSizes, theta: number): RotaryConfig {
  const path = `${fields.path} (rope parameters)`;
  const byType = new Fields(path, fields.object('rope_parameters') ?? {});
  for (const name of ['rope_theta', 'rope_type']) if (byType.has(name)) byType.fail(name, 'inside a layer type');
  const scaling = fields.object('rope_scaling');
  if (scaling && 'type' in scaling && !('rope_type' in scaling)) {
    fields.fail('rope_scaling', 'an object with "rope_type": transformers passes over "type" here');
  }
  const of = (type: LayerType, rope_theta: number, scaling: JsonObject = {}): RopeConfig =>
    readRope(new Fields(path, { rope_theta, ...byType.object(type), ...scaling }), sizes.maxPositionEmbeddings);
  return {
    // As transformers has it, a base beside the objects is of full attention only.
    rope: of('full_attention', fields.positive('rope_theta', theta), scaling),
    slidingRope: of('sliding_attention', theta),
    width: sizes.headDim,
    isPartial: false,
    pairs: 'halves',
    byType: true,
    layers: Array.from({ length: sizes.layers }, () => true),
  };
}

/** The window of a file, and which layers have it: as `layer_types` says, else as `slides` says. */
export function windows(
  fields: Fields,
  { layers }: DecoderSizes,
  slides: (layer: number) => boolean,
): Pick<DecoderShape, 'layerTypes' | 'slidingWindow'> {
  const typeOf = (layer: number): LayerType => (slides(layer) ? 'sliding_attention' : 'full_attention');
  const layerTypes = parseLayerTypes(fields, layers) ?? Array.from({ length: layers }, (_, layer) => typeOf(layer));
  const slidingWindow = fields.optionalSize('sliding_window');
  if (layerTypes.includes('sliding_attention') && slidingWindow === undefined) {
    fields.fail('sliding_window', 'a size, since there are layers with sliding_attention');
  }
  return { layerTypes, slidingWindow };
}

/** Nothing multiplied. */
export const FACTORS = { embedding: 1, residual: 1, logits: 1 } as const;
