import { join } from 'node:path';
import { type JsonObject, readJsonObjectIfPresent } from '../files.js';
import { Fields } from './fields.js';
import { saveJson } from './write-config.js';

/** What `generation_config.json` says; a field is undefined when the file does not say. Names as in `SamplingParams`. */
export interface GenerationConfig {
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[] | undefined;
  readonly padTokenId: number | undefined;
  /** false means greedy, whatever the temperature; absent means false in `transformers`. */
  readonly doSample: boolean;
  readonly temperature: number | undefined;
  readonly topK: number | undefined;
  readonly topP: number | undefined;
  readonly minP: number | undefined;
  readonly repetitionPenalty: number | undefined;
  readonly maxNewTokens: number | undefined;
  /** What else the file says, as it says it: not used here, and written again where the model is saved. */
  readonly others?: JsonObject;
}

/** Keys that `GenerationConfig` has fields for. */
const READ = [
  ...['bos_token_id', 'eos_token_id', 'pad_token_id', 'do_sample', 'temperature', 'top_k', 'top_p', 'min_p'],
  ...['repetition_penalty', 'max_new_tokens'],
];
/** Further keys with which `generate` of transformers 5.23 gives other tokens, and their values that change nothing. */
const NOT_APPLIED: Readonly<Record<string, unknown>> = {
  ...{ max_length: 20, min_length: 0, min_new_tokens: 0, early_stopping: false, max_time: null, stop_strings: null },
  ...{ num_beams: 1, num_beam_groups: 1, diversity_penalty: 0, length_penalty: 1, num_return_sequences: 1 },
  ...{ top_h: null, typical_p: 1, epsilon_cutoff: 0, eta_cutoff: 0, penalty_alpha: null, dola_layers: null },
  ...{ no_repeat_ngram_size: 0, encoder_no_repeat_ngram_size: 0, encoder_repetition_penalty: 1, bad_words_ids: null },
  ...{ renormalize_logits: false, remove_invalid_values: false, forced_bos_token_id: null, forced_eos_token_id: null },
  ...{ exponential_decay_length_penalty: null, suppress_tokens: null, begin_suppress_tokens: null },
  ...{ sequence_bias: null, token_healing: false, guidance_scale: 1, watermarking_config: null },
  ...{ constraints: null, force_words_ids: null, decoder_start_token_id: null },
};

/** The keys of a generation_config.json that change what transformers generates, and that nothing here applies. */
export const notApplied = (config: GenerationConfig): string[] =>
  Object.entries(config.others ?? {})
    .filter(([key, value]) => Object.hasOwn(NOT_APPLIED, key) && value !== null && value !== NOT_APPLIED[key])
    .map(([key]) => key);

/**
 * Reads `generation_config.json` of a model folder; undefined when there is none. What it asks for and nothing here applies
 * is named in a warning of the process.
 *
 * @throws InvalidModelFileError
 */
export async function loadGenerationConfig(folder: string): Promise<GenerationConfig | undefined> {
  const path = join(folder, 'generation_config.json');
  const json = await readJsonObjectIfPresent(path);
  if (!json) return undefined;
  const config = parseGenerationConfig(json, path);
  const names = notApplied(config);
  if (names.length > 0) {
    process.emitWarning(
      `${path}: ${names.join(', ')} ${names.length > 1 ? 'are' : 'is'} not applied here; say in the requests what you want of it.`,
      'PosttrainWarning',
    );
  }
  return config;
}

/** A generation_config.json as its text was parsed; `path` is for errors. @throws InvalidModelFileError */
export function parseGenerationConfig(json: JsonObject, path = 'generation_config.json'): GenerationConfig {
  const fields = new Fields(path, json);
  const others = Object.fromEntries(Object.entries(json).filter(([key]) => !READ.includes(key)));
  return {
    bosTokenId: fields.tokenId('bos_token_id'),
    eosTokenIds: fields.tokenIds('eos_token_id'),
    padTokenId: fields.tokenId('pad_token_id'),
    doSample: fields.boolean('do_sample', false),
    temperature: fields.optionalNumber('temperature'),
    topK: fields.optionalNumber('top_k'),
    topP: fields.optionalNumber('top_p'),
    minP: fields.optionalNumber('min_p'),
    repetitionPenalty: fields.optionalNumber('repetition_penalty'),
    maxNewTokens: fields.optionalSize('max_new_tokens'),
    ...(Object.keys(others).length > 0 && { others }),
  };
}

/** The inverse of `parseGenerationConfig`. */
export function generationConfigToJson(config: GenerationConfig): JsonObject {
  const { eosTokenIds } = config;
  const json = {
    ...config.others,
    bos_token_id: config.bosTokenId,
    eos_token_id: eosTokenIds?.length === 1 ? eosTokenIds[0] : eosTokenIds,
    pad_token_id: config.padTokenId,
    ...(config.doSample ? { do_sample: true } : {}),
    temperature: config.temperature,
    top_k: config.topK,
    top_p: config.topP,
    min_p: config.minP,
    repetition_penalty: config.repetitionPenalty,
    max_new_tokens: config.maxNewTokens,
  };
  return Object.fromEntries(Object.entries(json).filter(([, value]) => value !== undefined));
}

/** Writes `generation_config.json` into `folder`, atomically. */
export async function saveGenerationConfig(folder: string, config: GenerationConfig): Promise<void> {
  await saveJson(join(folder, 'generation_config.json'), generationConfigToJson(config));
}
