import { invalidField } from './api-error.js';
import type { Fields } from './fields.js';
import { promptLogProbsField } from './prompt-log-probs.js';
import type { CompletionRequest, ServedModel } from './served-model.js';

/** Fields that chat and text completions share. Those of the last lines are not OpenAI's: vLLM and others have them. */
export const SAMPLING_FIELDS = [
  ...['model', 'n', 'stream', 'stream_options', 'stop', 'seed', 'max_tokens', 'temperature', 'top_p'],
  ...['presence_penalty', 'frequency_penalty', 'logit_bias', 'user'],
  ...['top_k', 'min_p', 'repetition_penalty', 'return_tokens_as_token_ids', 'return_token_ids', 'prompt_logprobs'],
  // Ours.
  'adapter_inputs',
];

const MAX_STOPS = 16;
const MAX_STOP_LENGTH = 1024;
/** Each costs time at every token. */
const MAX_BIASES = 4096;
const MOST_INPUTS = 64;
/** vLLM counts less than this as greedy as well: dividing by it would overflow. */
const LEAST_TEMPERATURE = 1e-5;
const MAX_SEED = 2 ** 48;

export interface SamplingFields {
  readonly n: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Whether tokens of log-probabilities are called `token_id:12`. */
  readonly tokensAsIds: boolean;
  /** Whether the tokens of prompts and completions come with them. */
  readonly returnTokenIds: boolean;
  /** Alternatives at each place of the prompt; undefined: nothing is said of it. */
  readonly promptLogProbs: number | undefined;
  /** What does not depend on the prompt. */
  readonly settings: Omit<CompletionRequest, 'tokenIds' | 'continuesText' | 'signal'>;
}

/** @param limits most completions of one request, and most tokens of one completion */
export function samplingFields(
  fields: Fields,
  model: ServedModel,
  limits: { readonly n: number; readonly maxTokens: number; readonly defaultMaxTokens: number },
): SamplingFields {
  // Used for nothing, but no other type is one.
  fields.string('user');
  const streamOptions = fields.fields('stream_options');
  streamOptions?.refuseUnknown(['include_usage', 'include_obfuscation']);
  const stream = fields.boolean('stream') ?? false;
  if (streamOptions && !stream) throw invalidField('stream_options', "only allowed when 'stream' is enabled.");
  const temperature = fields.number('temperature', { min: 0, max: 2 });
  const topK = fields.integer('top_k', { min: -1 });
  const optional = {
    temperature: temperature !== undefined && temperature < LEAST_TEMPERATURE ? 0 : temperature,
    // 0 and -1 mean all, as in vLLM.
    topK: topK === undefined || topK < 1 ? undefined : topK,
    // 0 keeps the most likely token, as the smallest number above 0 does.
    topP: atLeast(fields.number('top_p', { min: 0, max: 1 }), Number.EPSILON),
    minP: fields.number('min_p', { min: 0, max: 1 }),
    repetitionPenalty: atLeast(fields.number('repetition_penalty', { min: 0.01, max: 100 }), 0.01),
    presencePenalty: fields.number('presence_penalty', { min: -2, max: 2 }) || undefined,
    frequencyPenalty: fields.number('frequency_penalty', { min: -2, max: 2 }) || undefined,
    logitBias: logitBias(fields, model.vocabularySize),
    stop: stopStrings(fields),
    adapterInputs: adapterInputs(fields),
  };
  const given = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined));
  return {
    n: fields.integer('n', { min: 1, max: limits.n }) ?? 1,
    stream,
    includeUsage: streamOptions?.boolean('include_usage') ?? false,
    tokensAsIds: fields.boolean('return_tokens_as_token_ids') ?? false,
    returnTokenIds: fields.boolean('return_token_ids') ?? false,
    promptLogProbs: promptLogProbsField(fields, stream, model),
    settings: {
      ...given,
      maxTokens: maxTokens(fields, limits.maxTokens) ?? limits.defaultMaxTokens,
      // Sample i has seed + i, which must still be a safe integer.
      seed: seedOf(fields),
    },
  };
}

const atLeast = (value: number | undefined, least: number) =>
  value === undefined ? undefined : Math.max(value, least);

function maxTokens(fields: Fields, max: number): number | undefined {
  const older = fields.integer('max_tokens', { min: 1, max });
  const newer = fields.integer('max_completion_tokens', { min: 1, max });
  if (older !== undefined && newer !== undefined) {
    throw invalidField('max_tokens', "give 'max_tokens' or 'max_completion_tokens', not both.");
  }
  return newer ?? older;
}

/** The field `seed`; a random one where it is left out. */
export function seedOf(fields: Fields): number {
  const seed = fields.integer('seed');
  if (seed === undefined) return Math.floor(Math.random() * 2 ** 31);
  // The API takes any 64-bit integer; a seed only has to be the same for the same number.
  return ((seed % MAX_SEED) + MAX_SEED) % MAX_SEED;
}

function stopStrings(fields: Fields): readonly string[] | undefined {
  const value = fields.get('stop');
  if (value === undefined) return undefined;
  const list = Array.isArray(value) ? value : [value];
  if (list.length > MAX_STOPS || !list.every((stop) => typeof stop === 'string' && stop !== '')) {
    throw invalidField('stop', `expected a string or a list of at most ${MAX_STOPS} strings, none of them empty.`);
  }
  if (list.some((stop) => stop.length > MAX_STOP_LENGTH)) {
    throw invalidField('stop', `a string has at most ${MAX_STOP_LENGTH} characters.`);
  }
  return list.length === 0 ? undefined : list;
}

/** What the adapter reads of a sequence, by its own names: which those are it knows itself. */
function adapterInputs(fields: Fields): Readonly<Record<string, number>> | undefined {
  const inputs = fields.fields('adapter_inputs');
  if (!inputs) return undefined;
  const names = Object.keys(fields.object('adapter_inputs')!);
  if (names.length > MOST_INPUTS) throw invalidField('adapter_inputs', `has ${names.length} entries.`);
  const range = { min: -(2 ** 31), max: 2 ** 31 - 1 };
  return Object.fromEntries(names.map((name) => [name, inputs.required(name, inputs.integer(name, range))]));
}

function logitBias(fields: Fields, vocabularySize: number): Readonly<Record<number, number>> | undefined {
  const value = fields.object('logit_bias');
  const ids = Object.keys(value ?? {});
  if (!value || ids.length === 0) return undefined;
  if (ids.length > MAX_BIASES) throw invalidField('logit_bias', `has ${ids.length} entries; at most ${MAX_BIASES}.`);
  const bias = fields.fields('logit_bias')!;
  for (const id of ids) {
    if (!/^\d{1,9}$/.test(id) || Number(id) >= vocabularySize) {
      throw invalidField('logit_bias', `"${id.slice(0, 20)}" is not a token id from 0 to ${vocabularySize - 1}.`);
    }
    bias.required(id, bias.number(id, { min: -100, max: 100 }));
  }
  return value as Readonly<Record<number, number>>;
}
