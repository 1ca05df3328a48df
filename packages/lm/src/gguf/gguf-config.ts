import type { JsonObject } from '../files.js';
import { ArchitectureKeys } from './architecture-keys.js';
import { GGUF_ARCHITECTURES, type GgufArchitecture } from './architectures.js';
import { UnsupportedGgufError } from './errors.js';
import { familyConfig } from './family-configs.js';
import type { GgufFile } from './gguf-file.js';
import type { GgufMetadata } from './metadata.js';

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
  const { metadata, tensors } = file;
  const { name, modelType } = architectureOf(file);
  const keys = new ArchitectureKeys(file, name);
  for (const key of WITHOUT) {
    const value = keys.number(key) ?? 0;
    if (value !== 0) throw keys.unsupported(key, `is ${value}; there is no model with it.`);
  }
  // Before anything is made for every layer.
  if (keys.size('block_count') > tensors.size)
    keys.fail('block_count', `at most the count of tensors, ${tensors.size}`);
  return {
    model_type: modelType,
    vocab_size: tensors.get('token_embd.weight')?.shape[0] ?? keys.size('vocab_size'),
    tie_word_embeddings: !tensors.has('output.weight'),
    ...tokenIds(metadata),
    ...(await familyConfig(keys, modelType)),
  };
}

/** The ids that end a generation: of a sequence, of a turn, of a message. */
function tokenIds(metadata: GgufMetadata): JsonObject {
  const id = (role: string) => metadata.number(`tokenizer.ggml.${role}_token_id`);
  const ends = ['eos', 'eot', 'eom'].map(id).filter((end) => end !== undefined);
  return {
    bos_token_id: id('bos') ?? null,
    eos_token_id: ends.length > 0 ? [...new Set(ends)] : null,
    pad_token_id: id('padding') ?? null,
  };
}
