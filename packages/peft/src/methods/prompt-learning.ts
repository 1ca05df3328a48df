import { type Key, type Tensor, tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { integer, showValue, text } from '@posttrain/interfaces';
import type { ModelConfig } from '@posttrain/lm';
import { AdapterConfigError } from '../adapters/errors.js';
import { orNull, targetOptions } from '../adapters/method-options.js';
import { type AdaptableModel, NO_PLAN } from '../adapters/peft-adapter.js';
import type { PlannedAdapter, PrepareContext } from '../adapters/peft-method.js';
import { matchSaved } from '../adapters/targets.js';

// What prompt and prefix tuning have in common: one tensor, which stands before every sequence.

export const PROMPT_EMBEDDINGS = 'prompt_embeddings';

/** What the methods have that learn what stands before every sequence. */
export const promptOptions = {
  /** Positions before every sequence. It must be given. */
  numVirtualTokens: orNull(integer({ min: 1 })),
  /** Modules trained whole, as copies: paths or dotted endings. Default: none. */
  modulesToSave: targetOptions.modulesToSave,
};

/** What the methods have that may start from a text, whose tokens are given to `createAdapter`. */
export const promptTextOptions = {
  /** What the tokens of `TEXT` were, for the file. Default: none. */
  promptTuningInitText: orNull(text({})),
  /** Where the tokens of `TEXT` came from, for the file. Default: none. */
  tokenizerNameOrPath: orNull(text({})),
};

/** As torch starts an embedding. */
export const randomStart = (key: Key, count: number, width: number): Tensor =>
  tensor(key.normalHost(count * width), [count, width]);

/** The embeddings of the tokens of a text, repeated or cut. @throws AdapterConfigError */
export function textStart({ base, rows, isLoaded }: Omit<PrepareContext, 'key'>, count: number): Named {
  if (isLoaded) return {};
  const words = rows[0] ?? [];
  if (words.length === 0 || rows.length > 1) {
    throw new AdapterConfigError('promptTuningInit "TEXT" needs the tokens of one text: rows: [tokenIds]');
  }
  const ids = Array.from({ length: count }, (_, i) => words[i % words.length]!);
  const { vocabSize } = base.config;
  const wrong = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (wrong !== undefined) throw new AdapterConfigError(`rows: ${showValue(wrong)} is no token id of the model`);
  return { [PROMPT_EMBEDDINGS]: base.network.asVirtualTokens(base.weights, tensor(Int32Array.from(ids))) };
}

/** The embeddings of tokens drawn from the vocabulary. */
export function vocabularyStart({ base, key, isLoaded }: PrepareContext, count: number): Named {
  if (isLoaded) return {};
  const drawn = key.uniformHost(count).map((u) => Math.floor(u * base.config.vocabSize));
  return { [PROMPT_EMBEDDINGS]: base.network.asVirtualTokens(base.weights, tensor(Int32Array.from(drawn))) };
}

interface PromptConfig {
  readonly numVirtualTokens: number | null;
  readonly modulesToSave: readonly string[] | null;
}

/** Nothing of the model is entered. @throws AdapterConfigError for a number of virtual tokens that cannot be */
export function promptPlan<Config extends PromptConfig>(
  { network, config: { maxPositionEmbeddings: context } }: AdaptableModel,
  config: Config,
  strictness: 'every entry' | 'any entry',
): PlannedAdapter<Config> {
  const { numVirtualTokens: count } = config;
  if (count === null || count > context - 2) {
    throw new AdapterConfigError(
      `numVirtualTokens ${showValue(count)}: it must be given, from 1 to ${context - 2}, since the context holds ${context}`,
    );
  }
  const saved = matchSaved(network.modules.values(), config, strictness);
  return { config, plan: { ...NO_PLAN, saved }, skipped: [] };
}

/** What PEFT's files of these methods say of the model, and the key of their tensor, which has no prefix. */
export const promptFacts = {
  names: ['num_attention_heads', 'num_layers', 'num_transformer_submodules', 'token_dim'],
  of: ({ numHiddenLayers }: ModelConfig, { width, heads }: { readonly width: number; readonly heads: number }) => ({
    num_attention_heads: heads,
    num_layers: numHiddenLayers,
    num_transformer_submodules: 1,
    token_dim: width,
  }),
  fileKey: (name: string): string => (name === PROMPT_EMBEDDINGS ? name : `base_model.model.${name}`),
} as const;
