import { type ChatMessage, PosttrainError } from '@posttrain/interfaces';
import type { RenderChatOptions } from '../chat-template/index.js';
import type { JsonObject } from '../files.js';
import { parseJsonText } from '../jinja/index.js';

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

/**
 * The messages of a dataset row without their null fields, as TRL drops them: in files with columns every message has the
 * fields of all. (In a conversation that is given, null is None, as in transformers.)
 */
export const rowMessages = (messages: readonly ChatMessage[]): ChatMessage[] =>
  messages.map(
    (message) =>
      Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null)) as unknown as ChatMessage,
  );

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
