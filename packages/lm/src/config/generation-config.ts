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
}

/** Reads `generation_config.json` of a model folder; undefined when there is none. @throws InvalidModelFileError */
export async function loadGenerationConfig(folder: string): Promise<GenerationConfig | undefined> {
  const path = join(folder, 'generation_config.json');
  const json = await readJsonObjectIfPresent(path);
  return json && parseGenerationConfig(json, path);
}

export function parseGenerationConfig(json: JsonObject, path = 'generation_config.json'): GenerationConfig {
  const fields = new Fields(path, json);
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
    maxNewTokens: fields.optionalNumber('max_new_tokens'),
  };
}

/** The inverse of `parseGenerationConfig`. */
export function generationConfigToJson(config: GenerationConfig): JsonObject {
  const { eosTokenIds } = config;
  const json = {
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
