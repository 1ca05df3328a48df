import type { JsonObject } from '../files.js';
import { ArchitectureKeys } from './architecture-keys.js';
import { GGUF_ARCHITECTURES, type GgufArchitecture, MIXTRAL } from './architectures.js';
import { UnsupportedGgufError } from './errors.js';
import { familyConfig } from './family-configs.js';
import type { GgufFile } from './gguf-file.js';
import type { GgufMetadata } from './metadata.js';

/** What llama.cpp multiplies or adds and these families do not have; 0 and absent mean without. */
const WITHOUT = [
  ...(['logit_scale', 'residual_scale', 'embedding_scale', 'attention.clamp_kqv', 'expert_shared_count'] as const),
];

/** The architecture of a file. @throws UnsupportedGgufError when there is no model for it */
export function architectureOf({ path, metadata }: GgufFile): { readonly name: string } & GgufArchitecture {
  const name = metadata.text('general.architecture') ?? metadata.fail('general.architecture', 'the name of one');
  if (name === 'llama' && (metadata.number('llama.expert_count') ?? 0) > 0) return { name, ...MIXTRAL };
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
  const { name, modelType, experts } = architectureOf(file);
  const keys = new ArchitectureKeys(file, name);
  for (const key of experts ? WITHOUT : [...WITHOUT, 'expert_count']) {
    const value = keys.number(key) ?? 0;
    if (value !== 0) throw keys.unsupported(key, `is ${value}; there is no model with it.`);
  }
  // Before anything is made for every layer.
  if (keys.size('block_count') > tensors.size)
    keys.fail('block_count', `at most the count of tensors, ${tensors.size}`);
  if (experts) checkExperts(keys, Object.keys(experts), modelType === 'mixtral');
  return {
    model_type: modelType,
    vocab_size: tensors.get('token_embd.weight')?.shape[0] ?? keys.size('vocab_size'),
    tie_word_embeddings: !tensors.has('output.weight'),
    ...tokenIds(metadata),
    ...(await familyConfig(keys, modelType)),
  };
}

/** Before anything is made for every expert: each layer (with a router) has as many matrices as are said. */
function checkExperts(keys: ArchitectureKeys, parts: readonly string[], inEveryLayer: boolean): void {
  const { tensors } = keys.file;
  const count = keys.size('expert_count');
  for (let layer = 0; layer < keys.size('block_count'); layer++) {
    if (!inEveryLayer && !tensors.has(`blk.${layer}.ffn_gate_inp.weight`)) continue;
    for (const part of parts) {
      const name = `blk.${layer}.${part}.weight`;
      const shape = tensors.get(name)?.shape ?? [];
      if (shape.length !== 3 || shape[0] !== count) {
        keys.fail('expert_count', `the first size of ${name}, which is [${shape.join(', ')}]`);
      }
    }
  }
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
