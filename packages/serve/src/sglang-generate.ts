import { randomUUID } from 'node:crypto';
import type { JsonObject } from '@posttrain/lm';
import { invalidField } from './api-error.js';
import { type ExactSample, exactSamples } from './exact-samples.js';
import { Fields } from './fields.js';
import { onlyBase } from './inference-generate.js';
import { promptLogProbs } from './prompt-log-probs.js';
import { promptsOf } from './prompts.js';
import { completionOf, modelOf, type Reply } from './reply.js';
import type { RequestContext } from './run-completions.js';
import { samplingFields } from './sampling-fields.js';

const FIELDS = [
  ...[
    'text',
    'input_ids',
    'sampling_params',
    'return_logprob',
    'logprob_start_len',
    'top_logprobs_num',
    'stream',
    'rid',
  ],
  ...['lora_path', 'return_text_in_logprobs', 'session_id', 'priority'],
];
/** SGLang's names of sampling parameters, and those of the OpenAI API. */
const SAMPLING: Readonly<Record<string, string>> = {
  ...{ max_new_tokens: 'max_tokens', sampling_seed: 'seed', n: 'n', temperature: 'temperature', top_p: 'top_p' },
  ...{ top_k: 'top_k', min_p: 'min_p', stop: 'stop', frequency_penalty: 'frequency_penalty', logit_bias: 'logit_bias' },
  ...{ presence_penalty: 'presence_penalty', repetition_penalty: 'repetition_penalty' },
};
/** SGLang's default. */
const DEFAULT_MAX_TOKENS = 128;

/**
 * `POST /generate`, as SGLang has it, for clients that speak its protocol: `input_ids` (or `text`), one or a list, with one
 * `sampling_params` or one for each. Answers `{ text, output_ids, meta_info }`, a list where a list was asked for or `n` is above 1.
 * `meta_info.output_token_logprobs` are `[log p, id, null]` of every token, end tokens included; `input_token_logprobs` those of the
 * prompt from `logprob_start_len` on. `lora_path` is the name of an adapter. `n` is one for all prompts of a request.
 * @throws ApiError before anything is generated
 */
export async function sglangGenerate(body: JsonObject, context: RequestContext): Promise<Reply> {
  const fields = new Fields(body);
  fields.refuseUnknown(FIELDS);
  if (fields.boolean('stream'))
    throw invalidField('stream', 'this server streams /v1/completions.', 'unsupported_value');
  if (fields.integer('top_logprobs_num', { min: 0 })) {
    throw invalidField('top_logprobs_num', 'alternatives are given by /v1/completions.', 'unsupported_value');
  }
  const asked = new Fields({ model: fields.string('lora_path') ?? onlyBase(context) });
  const { name, model, version } = modelOf(asked, context);
  const complete = completionOf(name, model);
  const which = fields.get('input_ids') === undefined ? 'text' : 'input_ids';
  const given = fields.required(which, fields.get(which));
  const prompts = await promptsOf(new Fields({ prompt: given }), model, context.slots.size, context);
  const isList = Array.isArray(given) && typeof given[0] !== 'number';
  const parameters = samplingOf(fields, prompts.length).map((one) => {
    const maxTokens = Math.min(context.maxTokens, model.contextLength);
    return samplingFields(one, model, {
      ...{ n: Math.floor(context.slots.size / prompts.length), maxTokens },
      defaultMaxTokens: Math.min(DEFAULT_MAX_TOKENS, maxTokens),
    });
  });
  const [{ n }] = parameters as [(typeof parameters)[0]];
  if (parameters.some((one) => one.n !== n)) throw invalidField('sampling_params', 'n must be one for all prompts.');
  const wantsLogProbs = fields.boolean('return_logprob') ?? false;
  const start = wantsLogProbs ? (fields.integer('logprob_start_len', { min: -1 }) ?? -1) : -1;
  const { settings: first } = parameters[0]!;
  const scored = start < 0 ? undefined : await promptLogProbs(model, prompts, { ...first, top: 0 }, context);
  const settings = parameters.map((one) => one.settings);
  const found = await exactSamples({ name, model, complete, prompts, n, wantsLogProbs, settings }, context);
  const answers = found.map((sample, i) => {
    const prompt = Math.floor(i / n);
    const places = scored?.[prompt]?.slice(start).map((place, t) => {
      const id = prompts[prompt]![start + t]!;
      return [place ? (place[id] as JsonObject).logprob : null, id, null];
    });
    return answerOf(sample, prompts[prompt]!.length, { version, wantsLogProbs, places });
  });
  if (isList || n > 1) return { kind: 'pieces', pieces: [Buffer.from(JSON.stringify(answers))] };
  return { kind: 'json', body: answers[0]! };
}

/** One for each prompt, by the names of the OpenAI API. */
function samplingOf(fields: Fields, count: number): readonly Fields[] {
  const given = fields.get('sampling_params') ?? {};
  const list = Array.isArray(given)
    ? fields.objects('sampling_params')!
    : [fields.fields('sampling_params') ?? new Fields({})];
  if (Array.isArray(given) && given.length !== count) {
    throw invalidField('sampling_params', `there are ${given.length} for ${count} prompts.`);
  }
  const known = [...Object.keys(SAMPLING), 'skip_special_tokens', 'ignore_eos', 'spaces_between_special_tokens'];
  const read = list.map((one) => {
    one.refuseUnknown(known);
    if (one.boolean('ignore_eos')) throw invalidField(one.path('ignore_eos'), 'an end token ends a completion here.');
    return new Fields(
      Object.fromEntries(Object.entries(SAMPLING).map(([name, ours]) => [ours, one.get(name)])),
      'sampling_params',
    );
  });
  return Array.isArray(given) ? read : Array.from({ length: count }, () => read[0]!);
}

function answerOf(
  { tokenIds, logProbs, text, finishReason, stop }: ExactSample,
  promptTokens: number,
  how: { readonly version: string; readonly wantsLogProbs: boolean; readonly places: readonly unknown[] | undefined },
): JsonObject {
  const matched = stop ?? tokenIds.at(-1) ?? null;
  const ends = {
    stop: { type: 'stop', matched },
    length: { type: 'length', length: tokenIds.length },
    abort: { type: 'abort', message: 'Aborted by a pause.' },
  };
  return {
    text,
    output_ids: tokenIds,
    meta_info: {
      ...{ id: randomUUID(), finish_reason: ends[finishReason], weight_version: how.version },
      ...{ prompt_tokens: promptTokens, completion_tokens: tokenIds.length },
      ...(how.wantsLogProbs && { output_token_logprobs: logProbs.map((logProb, t) => [logProb, tokenIds[t]!, null]) }),
      ...(how.places && { input_token_logprobs: how.places }),
    },
  };
}

/** `GET /model_info`, as SGLang has it. */
export function modelInfo(_: URLSearchParams, context: RequestContext): Reply {
  const name = onlyBase(context);
  const { card } = context.models.get(name)!;
  const version = context.models.versionOf(name);
  return { kind: 'json', body: { model_path: card?.root ?? name, is_generation: true, weight_version: version } };
}
