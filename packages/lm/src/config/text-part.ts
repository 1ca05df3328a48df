import { InvalidModelFileError, isJsonObject, type JsonObject } from '../files.js';

/** The language model inside a model that also sees images. */
export interface TextPart {
  /** Its config.json. */
  readonly json: JsonObject;
  /** What the tensors of the other parts begin with. */
  readonly leftOut: readonly string[];
}

/** Sizes that a text_config may leave out, as transformers 5 has them. */
const LLAMA: JsonObject = {
  ...{ vocab_size: 32000, hidden_size: 4096, intermediate_size: 11008, num_hidden_layers: 32, num_attention_heads: 32 },
  max_position_embeddings: 2048,
};
const MISTRAL: JsonObject = { ...LLAMA, intermediate_size: 14336, max_position_embeddings: 4096 * 32 };
const QWEN2: JsonObject = {
  ...{
    vocab_size: 152064,
    hidden_size: 8192,
    intermediate_size: 29568,
    num_hidden_layers: 80,
    num_attention_heads: 64,
  },
  ...{ num_key_value_heads: 8, max_position_embeddings: 32768, rms_norm_eps: 1e-5, max_window_layers: 80 },
  ...{ rope_theta: 1e6, bos_token_id: 151643, eos_token_id: 151645 },
};
const DEFAULTS: Readonly<Record<string, JsonObject>> = { llama: LLAMA, mistral: MISTRAL, qwen2: QWEN2 };

const names = (...parts: string[]): readonly string[] => parts.flatMap((part) => [`${part}.`, `model.${part}.`]);

interface Family {
  /** `model_type` of a text_config that says none. */
  readonly text: string;
  /** What a text_config's own names for a family of ours are. */
  readonly renamed?: Readonly<Record<string, string>>;
  readonly tied: boolean;
  readonly leftOut: readonly string[];
}

const QWEN_VL = (name: string): Family => ({
  text: 'qwen2',
  renamed: { [name]: 'qwen2', [`${name}_text`]: 'qwen2' },
  tied: false,
  leftOut: names('visual'),
});
const FAMILIES: Readonly<Record<string, Family>> = {
  llava: { text: 'llama', tied: false, leftOut: names('vision_tower', 'multi_modal_projector') },
  mistral3: { text: 'mistral', tied: true, leftOut: names('vision_tower', 'multi_modal_projector') },
  qwen2_vl: QWEN_VL('qwen2_vl'),
  qwen2_5_vl: QWEN_VL('qwen2_5_vl'),
  qwen3_5: { text: 'qwen3_5_text', tied: false, leftOut: names('visual') },
  qwen3_5_moe: { text: 'qwen3_5_moe_text', tied: false, leftOut: names('visual') },
};
/** The models that see images whose text parts are read. (Gemma 3's is `gemma3`.) */
export const MODELS_WITH_TEXT_PARTS: readonly string[] = Object.keys(FAMILIES);

/** What the whole says for its parts. */
const SHARED = ['dtype', 'torch_dtype', 'bos_token_id', 'eos_token_id', 'pad_token_id'];

/**
 * The text part of a `config.json` of LLaVA, Mistral 3, Qwen2-VL, Qwen2.5-VL or Qwen3.5, as the config of the family that it is; undefined for every other
 * config. Qwen's positions have three coordinates (time, height, width), which are the same number for text: plain rotary positions.
 *
 * @throws InvalidModelFileError when there is no text_config
 */
export function textPartOf(json: JsonObject, path: string): TextPart | undefined {
  const { model_type: type } = json;
  if (typeof type !== 'string' || !Object.hasOwn(FAMILIES, type)) return undefined;
  const family = FAMILIES[type]!;
  const isFlat = json.text_config === undefined && family.renamed !== undefined;
  // Qwen2-VL's first files have the keys beside those of the whole.
  const { vision_config: _, ...flat } = json;
  const text = isFlat ? flat : json.text_config;
  if (!isJsonObject(text)) throw new InvalidModelFileError(path, '"text_config" must be an object.');
  const own = typeof text.model_type === 'string' ? text.model_type : family.text;
  const { renamed = {} } = family;
  const modelType = Object.hasOwn(renamed, own) ? renamed[own]! : own;
  const shared = SHARED.filter((name) => text[name] === undefined && json[name] !== undefined);
  return {
    json: {
      ...DEFAULTS[modelType],
      ...text,
      ...Object.fromEntries(shared.map((name) => [name, json[name]])),
      ...withoutCoordinates(text),
      model_type: modelType,
      // Neither is of a causal model by itself.
      architectures: undefined,
      tie_word_embeddings: (json.tie_word_embeddings ?? family.tied) === true || text.tie_word_embeddings === true,
    },
    leftOut: family.leftOut,
  };
}

/** Rotary parameters of three coordinates as those of one. */
function withoutCoordinates(text: JsonObject): JsonObject {
  const plain = (value: unknown) => {
    if (!isJsonObject(value)) return value;
    const { mrope_section: _, mrope_interleaved: __, ...rope } = value;
    const isThree = (type: unknown) => type === 'mrope';
    return {
      ...rope,
      ...(isThree(rope.type) && { type: 'default' }),
      ...(isThree(rope.rope_type) && { rope_type: 'default' }),
    };
  };
  return Object.fromEntries(
    ['rope_scaling', 'rope_parameters']
      .filter((name) => text[name] !== undefined)
      .map((name) => [name, plain(text[name])]),
  );
}
