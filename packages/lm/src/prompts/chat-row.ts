import { type ChatMessage, PosttrainError, showValue } from '@posttrain/interfaces';
import { parseJsonText } from '@posttrain/interfaces/jinja';
import type { RenderChatOptions } from '../chat-template/index.js';
import { isJsonObject, type JsonObject } from '../files.js';

/** What a row says of its conversations beside the messages, as the chat template takes it. */
export type ChatRowOptions = Pick<RenderChatOptions, 'tools' | 'variables'>;

/**
 * The tools and template variables of a dataset row, by TRL's column names: `tools` (a list of JSON schemas, or its JSON
 * text) and `chat_template_kwargs` (an object). Whoever renders the conversation of a row passes them on: a prompt without
 * its tools is another prompt.
 *
 * @throws PosttrainError ROW_TOOLS for columns of these names that are something else
 */
export function chatOptionsOf(row: {
  readonly tools?: unknown;
  readonly chat_template_kwargs?: unknown;
}): ChatRowOptions {
  const tools = toolsOf(row.tools);
  const kwargs = row.chat_template_kwargs ?? undefined;
  if (kwargs !== undefined && !isRecord(kwargs)) throw wrong('chat_template_kwargs must be an object');
  return { ...(tools && { tools }), ...(kwargs && { variables: kwargs }) };
}

/** A message of a dataset row. */
export interface RowMessage extends ChatMessage {
  /** 0: what the assistant says here is not trained (OpenAI). Default 1. */
  readonly weight?: 0 | 1;
}

/**
 * The messages of a dataset row as chat templates take them, and so as they are served: without their null fields, as TRL
 * drops them (in files with columns every message has the fields of all; in a conversation that is given, null is None, as
 * in transformers); without `weight`, which is for who trains; with arguments of calls as objects, where the row has their
 * JSON text, as the OpenAI API has it.
 *
 * @throws PosttrainError ROW_MESSAGE for what is no list of messages, and for arguments that are text but not the JSON text
 *   of an object
 */
export function rowMessages(messages: readonly ChatMessage[]): ChatMessage[] {
  if (!Array.isArray(messages)) {
    throw new PosttrainError(
      'ROW_MESSAGE',
      `it must be a text or a list of { role, content }, and is ${showValue(messages)}`,
    );
  }
  return messages.map((message: unknown, i) => {
    if (!isRecord(message) || typeof message.role !== 'string') {
      throw new PosttrainError(
        'ROW_MESSAGE',
        `messages[${i}] must be { role, content } with a text as its role, and is ${showValue(message)}`,
      );
    }
    const { weight: _, ...fields } = message;
    const present = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
    const given: unknown = message.tool_calls ?? undefined;
    if (given !== undefined && !Array.isArray(given)) {
      throw new PosttrainError('ROW_MESSAGE', `messages[${i}].tool_calls must be a list`);
    }
    const calls = given?.map((call, c) => withArguments(call, `messages[${i}].tool_calls[${c}]`));
    return { ...present, ...(calls && { tool_calls: calls }) } as unknown as ChatMessage;
  });
}

function withArguments(call: unknown, where: string): unknown {
  if (!isRecord(call)) return call;
  const inner = isRecord(call.function) ? call.function : call;
  if (typeof inner.arguments !== 'string') return call;
  const parsed = { ...inner, arguments: callArguments(inner.arguments) };
  if (parsed.arguments === undefined) {
    throw new PosttrainError('ROW_MESSAGE', `${where}: its arguments are text, but not the JSON text of an object`);
  }
  return inner === call ? parsed : { ...call, function: parsed };
}

/** The arguments of a call from their JSON text; undefined when it is not that of an object. No text is no arguments. */
export function callArguments(text: string): JsonObject | undefined {
  if (text.trim() === '') return {};
  const value = parseJsonText(text);
  return isJsonObject(value) ? value : undefined;
}

function toolsOf(value: unknown): readonly JsonObject[] | undefined {
  // Rows of a Parquet file have the column in every row, empty where it does not apply.
  if (value === undefined || value === null || value === '') return undefined;
  let tools: unknown = value;
  if (typeof value === 'string') {
    tools = parseJsonText(value);
    if (tools === undefined) throw wrong('tools is text but not JSON');
  }
  if (!Array.isArray(tools) || !tools.every(isRecord))
    throw wrong('tools must be a list of JSON schemas, or its JSON text');
  return tools.length === 0 ? undefined : (tools as JsonObject[]);
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const wrong = (problem: string) => new PosttrainError('ROW_TOOLS', problem);
