import type { JsonObject } from '@posttrain/lm';
import { invalidField } from './api-error.js';
import { chatMessages } from './chat-messages.js';
import type { ChatTurnRequest } from './chat-turn.js';
import type { Fields } from './fields.js';
import { SAMPLING_FIELDS } from './sampling-fields.js';
import type { OutputConstraint } from './served-model.js';

/** Fields that change how a request is billed, stored or routed, which does not concern a local model. */
const IGNORED_FIELDS = [
  ...['metadata', 'store', 'service_tier', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'],
  ...['prediction', 'reasoning_effort', 'verbosity'],
];
const CHAT_FIELDS = [
  ...SAMPLING_FIELDS,
  ...['messages', 'tools', 'tool_choice', 'parallel_tool_calls', 'response_format', 'logprobs', 'top_logprobs'],
  ...['max_completion_tokens', 'modalities', 'chat_template_kwargs'],
  ...IGNORED_FIELDS,
];
const UNSUPPORTED_FIELDS = {
  functions: "deprecated; use 'tools'.",
  function_call: "deprecated; use 'tool_choice'.",
  audio: 'this server answers with text only.',
  web_search_options: 'this server does not search the web.',
};
/** What the server itself tells the template. */
const RESERVED_VARIABLES = ['messages', 'tools', 'documents', 'add_generation_prompt'];

/** The fields of `POST /v1/chat/completions` that are about the conversation. @throws ApiError */
export function chatTurnRequest(fields: Fields): ChatTurnRequest {
  fields.refuseUnknown(CHAT_FIELDS, UNSUPPORTED_FIELDS);
  if (fields.array('modalities')?.some((modality) => modality !== 'text')) {
    throw invalidField('modalities', "this server answers with 'text' only.", 'unsupported_value');
  }
  const tools = toolsOf(fields);
  const variables = fields.object('chat_template_kwargs');
  const reserved = Object.keys(variables ?? {}).find((name) => RESERVED_VARIABLES.includes(name));
  if (reserved) throw invalidField(`chat_template_kwargs.${reserved}`, 'is given to the template by the server.');
  const constraint = responseFormat(fields);
  return {
    messages: chatMessages(fields),
    tools,
    toolChoice: toolChoice(fields, tools),
    parallelToolCalls: fields.boolean('parallel_tool_calls') ?? true,
    ...(variables ? { variables } : {}),
    ...(constraint ? { constraint } : {}),
  };
}

/** Alternatives to report for each token; undefined when no log-probabilities are asked for. */
export function topLogProbs(fields: Fields): number | undefined {
  const asked = fields.boolean('logprobs') ?? false;
  const top = fields.integer('top_logprobs', { min: 0, max: 20 });
  if (top !== undefined && !asked) throw invalidField('top_logprobs', "only allowed when 'logprobs' is enabled.");
  return asked ? (top ?? 0) : undefined;
}

function toolsOf(fields: Fields): JsonObject[] {
  const tools = fields.objects('tools', 128) ?? [];
  const names = new Set<string>();
  return tools.map((tool) => {
    if (tool.required('type', tool.string('type')) !== 'function') {
      throw invalidField(tool.path('type'), "must be 'function'.", 'unsupported_value');
    }
    const it = tool.required('function', tool.fields('function'));
    const name = it.required('name', it.string('name'));
    if (!/^[\w.-]{1,64}$/.test(name))
      throw invalidField(it.path('name'), 'must be 1 to 64 of a-z, A-Z, 0-9, _, . and -.');
    if (names.has(name)) throw invalidField(it.path('name'), `there are two functions "${name}".`);
    names.add(name);
    const description = it.string('description');
    const parameters = it.object('parameters') ?? { type: 'object', properties: {} };
    // Only what templates read, so that a prompt does not change with settings like `strict`.
    return { type: 'function', function: { name, ...(description === undefined ? {} : { description }), parameters } };
  });
}

function toolChoice(fields: Fields, tools: readonly JsonObject[]): ChatTurnRequest['toolChoice'] {
  const value = fields.get('tool_choice');
  if (value === undefined) return 'auto';
  if (tools.length === 0 && value !== 'none') throw invalidField('tool_choice', "only allowed when 'tools' are given.");
  if (typeof value === 'string') return fields.oneOf('tool_choice', ['none', 'auto', 'required'] as const)!;
  const choice = fields.fields('tool_choice')!;
  choice.required('type', choice.oneOf('type', ['function']));
  const it = choice.required('function', choice.fields('function'));
  const name = it.required('name', it.string('name'));
  if (!tools.some((tool) => (tool.function as JsonObject).name === name)) {
    throw invalidField(it.path('name'), `no tool has the name "${name}".`);
  }
  return { name };
}

function responseFormat(fields: Fields): OutputConstraint | undefined {
  const format = fields.fields('response_format');
  const type = format?.required('type', format.oneOf('type', ['text', 'json_object', 'json_schema']));
  if (!format || type === 'text') return undefined;
  if (type === 'json_object') return { type: 'json-schema', schema: { type: 'object' } };
  const described = format.required('json_schema', format.fields('json_schema'));
  described.required('name', described.string('name'));
  return { type: 'json-schema', schema: described.object('schema') ?? {} };
}
