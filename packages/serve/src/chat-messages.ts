import type { ChatMessage } from '@posttrain/interfaces';
import { callArguments } from '@posttrain/lm';
import { invalidField } from './api-error.js';
import type { Fields } from './fields.js';

const ROLES = ['system', 'developer', 'user', 'assistant', 'tool'] as const;
const MESSAGE_FIELDS = [
  ...['role', 'content', 'name', 'tool_calls', 'tool_call_id', 'refusal', 'audio', 'annotations', 'function_call'],
  ...['reasoning_content', 'reasoning'],
];

const MAX_MESSAGES = 16_384;

/**
 * The messages of a request as chat templates take them: parts of text joined, arguments of calls as objects (the API
 * has JSON text), `developer` as `system`, which is all that most templates know.
 *
 * @throws ApiError for what is not a conversation, and for parts that are not text
 */
export function chatMessages(request: Fields): ChatMessage[] {
  const messages = request.required('messages', request.objects('messages', MAX_MESSAGES));
  if (messages.length === 0) throw invalidField('messages', 'must have at least one message.', 'empty_array');
  return messages.map(chatMessage);
}

function chatMessage(message: Fields): ChatMessage {
  message.refuseUnknown(MESSAGE_FIELDS);
  const role = message.required('role', message.oneOf('role', ROLES));
  const calls = role === 'assistant' ? message.objects('tool_calls')?.map(toolCall) : undefined;
  const content = textContent(message);
  if (content === undefined && !calls?.length) message.required('content', content);
  const reasoning = message.string('reasoning_content') ?? message.string('reasoning');
  const optional = {
    name: message.string('name'),
    tool_calls: calls?.length ? calls : undefined,
    tool_call_id: role === 'tool' ? message.required('tool_call_id', message.string('tool_call_id')) : undefined,
    reasoning_content: reasoning,
  };
  const given = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined));
  return { role: role === 'developer' ? 'system' : role, content: content ?? '', ...given };
}

function textContent(message: Fields): string | undefined {
  const content = message.get('content');
  if (!Array.isArray(content)) return message.string('content');
  const parts = message.objects('content')!;
  return parts
    .map((part) => {
      const type = part.required('type', part.string('type'));
      if (type === 'refusal') return part.required('refusal', part.string('refusal'));
      if (type === 'text') return part.required('text', part.string('text'));
      throw invalidField(part.path('type'), "this server's models take 'text' only.", 'unsupported_content');
    })
    .join('');
}

function toolCall(call: Fields) {
  const type = call.string('type') ?? 'function';
  if (type !== 'function') throw invalidField(call.path('type'), "must be 'function'.");
  const it = call.required('function', call.fields('function'));
  const name = it.required('name', it.string('name'));
  const text = it.string('arguments') ?? '';
  const id = call.string('id');
  return { ...(id === undefined ? {} : { id }), type, function: { name, arguments: argumentsOf(text, it) } };
}

function argumentsOf(text: string, call: Fields): object {
  const value = callArguments(text);
  if (value) return value;
  throw invalidField(call.path('arguments'), 'must be the JSON text of an object.');
}
