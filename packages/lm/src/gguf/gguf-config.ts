import type { JsonObject } from '../files.js';
import { GGUF_ARCHITECTURES, type GgufArchitecture } from './architectures.js';
import { UnsupportedGgufError } from './errors.js';
import type { GgufFile } from './gguf-file.js';
import { llama3Scaling } from './llama3-scaling.js';

/** What llama.cpp multiplies or adds and these families do not have; 0 and absent mean without. */
const WITHOUT = ['expert_count', 'logit_scale', 'residual_scale', 'embedding_scale', 'attention.clamp_kqv'] as const;

/** The architecture of a file. @throws UnsupportedGgufError when there is no model for it */
export function architectureOf({ path, metadata }: GgufFile): { readonly name: string } & GgufArchitecture {
  const name = metadata.text('general.architecture') ?? metadata.fail('general.architecture', 'the name of one');
  if (Object.hasOwn(GGUF_ARCHITECTURES, name)) return { name, ...GGUF_ARCHITECTURES[name]! };
  throw new UnsupportedGgufError(
    path,
    `its architecture is "${name}"; there are models for ${Object.keys(GGUF_ARCHITECTURES).join(', ')}.`,
  );
}

/**
 * The `config.json` that says what the metadata of a GGUF file (and which tensors it has) say.
 *
 * @throws UnsupportedGgufError for what would change the maths and has no model here
 * @throws InvalidGgufError when a number is missing or of another kind
 */
export async function ggufConfig(file: GgufFile): Promise<JsonObject> {
  const { path, metadata, tensors } = file;
  const architecture = architectureOf(file);
  const key = (name: string) => `${architecture.name}.${name}`;
  const size = (name: string): number => {
    const value = metadata.sameNumber(key(name));
    if (value === undefined || !Number.isSafeInteger(value) || value < 1)
      metadata.fail(key(name), 'a positive integer');
    return value as number;
  };
  for (const name of WITHOUT) {
    const value = metadata.number(key(name)) ?? 0;
    if (value !== 0) throw new UnsupportedGgufError(path, `${key(name)} is ${value}; there is no model with it.`);
  }
  const layers = size('block_count');
  if (layers > tensors.size) metadata.fail(key('block_count'), `at most the count of tensors (${tensors.size})`);
  const common = {
    model_type: architecture.modelType,
    vocab_size: tensors.get('token_embd.weight')?.shape[0] ?? size('vocab_size'),
    tie_word_embeddings: !tensors.has('output.weight'),
    ...tokenIds(file),
  };
  if (architecture.modelType === 'gpt2') {
    return {
      ...common,
      n_embd: size('embedding_length'),
      n_layer: layers,
      n_head: size('attention.head_count'),
      n_positions: size('context_length'),
      n_inner: size('feed_forward_length'),
      layer_norm_epsilon: metadata.decimal(key('attention.layer_norm_epsilon')),
    };
  }
  const hiddenSize = size('embedding_length');
  const heads = size('attention.head_count');
  const optional = (name: string) => (metadata.has(key(name)) ? size(name) : undefined);
  const headDim = optional('attention.key_length') ?? hiddenSize / heads;
  for (const name of ['attention.value_length', 'rope.dimension_count']) {
    const found = optional(name) ?? headDim;
    if (found !== headDim) {
      throw new UnsupportedGgufError(path, `${key(name)} is ${found} where the head width is ${headDim}.`);
    }
  }
  const has = (part: string) => tensors.has(`blk.0.${part}.bias`);
  return {
    ...common,
    hidden_size: hiddenSize,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: optional('attention.head_count_kv') ?? heads,
    intermediate_size: size('feed_forward_length'),
    max_position_embeddings: size('context_length'),
    head_dim: headDim,
    rms_norm_eps: metadata.decimal(key('attention.layer_norm_rms_epsilon')),
    rope_parameters: {
      rope_theta: metadata.decimal(key('rope.freq_base')) ?? 10000,
      ...(await scaling(file, headDim)),
    },
    attention_bias: has('attn_output') || (architecture.modelType !== 'qwen2' && has('attn_q')),
    mlp_bias: has('ffn_gate'),
    ...sliding(file, architecture),
  };
}

function sliding({ path, metadata }: GgufFile, { name, modelType }: { name: string; modelType: string }): JsonObject {
  const window = metadata.number(`${name}.attention.sliding_window`) ?? 0;
  if (window === 0) return {};
  if (modelType === 'llama') return { model_type: 'mistral', sliding_window: window };
  throw new UnsupportedGgufError(path, `it says a sliding window of ${window} but not which layers have it.`);
}

/** The ids that end a generation: of a sequence, of a turn, of a message. */
function tokenIds({ metadata }: GgufFile): JsonObject {
  const id = (role: string) => metadata.number(`tokenizer.ggml.${role}_token_id`);
  const ends = ['eos', 'eot', 'eom'].map(id).filter((end) => end !== undefined);
  return {
    bos_token_id: id('bos') ?? null,
    eos_token_id: ends.length > 0 ? [...new Set(ends)] : null,
    pad_token_id: id('padding') ?? null,
  };
}

/** How positions are scaled: named in the metadata, except Llama 3's, whose factors are a tensor. */
async function scaling(file: GgufFile, headDim: number): Promise<JsonObject> {
  const { metadata, tensors } = file;
  const architecture = architectureOf(file).name;
  if (tensors.has('rope_freqs.weight')) {
    return llama3Scaling(file.path, await file.read('rope_freqs.weight'), {
      theta: metadata.decimal(`${architecture}.rope.freq_base`) ?? 10000,
      headDim,
    });
  }
  const type = metadata.text(`${architecture}.rope.scaling.type`) ?? 'none';
  const factor =
    metadata.decimal(`${architecture}.rope.scaling.factor`) ?? metadata.decimal(`${architecture}.rope.scale_linear`);
  if (type === 'none' && (factor ?? 1) === 1) return { rope_type: 'default' };
  return { rope_type: type === 'none' ? 'linear' : type, factor };
}
