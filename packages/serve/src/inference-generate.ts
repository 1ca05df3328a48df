import { randomUUID } from 'node:crypto';
import type { JsonObject } from '@posttrain/lm';
import { ApiError, invalidField } from './api-error.js';
import { exactSamples } from './exact-samples.js';
import { Fields } from './fields.js';
import { promptLogProbs } from './prompt-log-probs.js';
import { promptsOf } from './prompts.js';
import { completionOf, modelOf, type Reply, usage } from './reply.js';
import type { RequestContext } from './run-completions.js';
import { samplingFields } from './sampling-fields.js';
import { idName } from './token-names.js';

const FIELDS = ['model', 'token_ids', 'sampling_params', 'stream', 'request_id', 'priority', 'cache_salt'];
const SAMPLING = [
  ...['n', 'max_tokens', 'temperature', 'top_p', 'top_k', 'min_p', 'seed', 'stop', 'logprobs', 'prompt_logprobs'],
  ...['presence_penalty', 'frequency_penalty', 'repetition_penalty', 'logit_bias', 'adapter_inputs'],
];
/** vLLM's default. */
const DEFAULT_MAX_TOKENS = 16;

/**
 * `POST /inference/v1/generate { model, token_ids, sampling_params }`, as vLLM has it: token ids in and out, no text. `model` may be left
 * out where there is one. Each choice has `token_ids`, `logprobs.content` where `sampling_params.logprobs` asks for it, and
 * `weight_version`. @throws ApiError before anything is generated
 */
export async function inferenceGenerate(body: JsonObject, context: RequestContext): Promise<Reply> {
  const fields = new Fields(body);
  fields.refuseUnknown(FIELDS);
  if (fields.boolean('stream'))
    throw invalidField('stream', 'this server streams /v1/completions.', 'unsupported_value');
  const { name, model, version } = modelOf(
    new Fields({ ...body, model: fields.string('model') ?? onlyBase(context) }),
    context,
  );
  const complete = completionOf(name, model);
  const asked = fields.fields('sampling_params') ?? new Fields({}, 'sampling_params');
  asked.refuseUnknown(SAMPLING);
  const maxTokens = Math.min(context.maxTokens, model.contextLength);
  const limits = { n: context.slots.size, maxTokens, defaultMaxTokens: Math.min(DEFAULT_MAX_TOKENS, maxTokens) };
  const { n, settings, promptLogProbs: top } = samplingFields(asked, model, limits);
  const wantsLogProbs = asked.integer('logprobs', { min: 0, max: 0 }) !== undefined;
  const ids = fields.required('token_ids', fields.array('token_ids'));
  const prompts = await promptsOf(new Fields({ prompt: [ids] }), model, 1, context);
  const scored = await promptLogProbs(model, prompts, { ...settings, top }, context);
  const found = await exactSamples({ name, model, complete, prompts, n, wantsLogProbs, settings: [settings] }, context);
  const choices = found.map(({ tokenIds, logProbs, finishReason }, index) => ({
    index,
    token_ids: tokenIds,
    logprobs: wantsLogProbs
      ? {
          content: logProbs.map((logprob, t) => ({
            token: idName(tokenIds[t]!),
            logprob,
            bytes: null,
            top_logprobs: [],
          })),
        }
      : null,
    finish_reason: finishReason,
    weight_version: version,
  }));
  const completionTokens = found.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
  return {
    kind: 'json',
    body: {
      request_id: fields.string('request_id') ?? `gen-${randomUUID()}`,
      choices,
      ...(scored ? { prompt_logprobs: scored[0]! } : {}),
      usage: usage(prompts[0]!.length, completionTokens),
    },
  };
}

/** The model that is meant where none is named. @throws ApiError 400 where there are several */
export function onlyBase({ models }: RequestContext): string {
  const names = [...models.names].filter((name) => models.get(name)!.card?.parent === undefined);
  if (names.length === 1) return names[0]!;
  throw new ApiError(400, `Name the model. There are: ${names.join(', ')}.`, {
    param: 'model',
    apiCode: 'missing_required_parameter',
  });
}
