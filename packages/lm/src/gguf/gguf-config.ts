import type { JsonObject } from '../files.js';
import { ArchitectureKeys } from './architecture-keys.js';
import { GGUF_ARCHITECTURES, type GgufArchitecture, MIXTRAL } from './architectures.js';
import { endTokens, ggufTokenId } from './end-tokens.js';
import { UnsupportedGgufError } from './errors.js';
import { familyConfig } from './family-configs.js';
import type { GgufFile } from './gguf-file.js';
import type { GgufMetadata } from './metadata.js';
import { refuseUnsupportedKeys } from './refused-keys.js';

/** The names of the architectures that are read and written. */
export const WRITTEN_ARCHITECTURES: readonly string[] = Object.keys(GGUF_ARCHITECTURES);

/** The architecture of a name; that of `llama` with experts is Mixtral's. */
export function architectureFor(name: string, hasExperts: boolean): GgufArchitecture | undefined {
  if (name === 'llama' && hasExperts) return MIXTRAL;
  return Object.hasOwn(GGUF_ARCHITECTURES, name) ? GGUF_ARCHITECTURES[name] : undefined;
}

/** The architecture of a file. @throws UnsupportedGgufError when there is no model for it */
export function architectureOf({ path, metadata }: GgufFile): { readonly name: string } & GgufArchitecture {
  const name = metadata.text('general.architecture') ?? metadata.fail('general.architecture', 'the name of one');
  const found = architectureFor(name, (metadata.number('llama.expert_count') ?? 0) > 0);
  if (found) return { name, ...found };
  throw new UnsupportedGgufError(
    path,
    `its architecture is "${name}"; there are models for ${WRITTEN_ARCHITECTURES.join(', ')}.`,
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
  refuseUnsupportedKeys(keys, modelType, experts !== undefined);
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

function tokenIds(metadata: GgufMetadata): JsonObject {
  const ends = endTokens(metadata);
  const vocabulary = metadata.texts('tokenizer.ggml.tokens')?.length ?? 0;
  return {
    bos_token_id: ggufTokenId(metadata, 'bos', vocabulary) ?? null,
    eos_token_id: ends.length > 0 ? ends : null,
    pad_token_id: ggufTokenId(metadata, 'padding', vocabulary) ?? null,
  };
}
