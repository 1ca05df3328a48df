import { PosttrainError } from '@posttrain/interfaces';
import type { RenderChatOptions } from '../chat-template/index.js';
import type { JsonObject } from '../files.js';

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

function toolsOf(value: unknown): readonly JsonObject[] | undefined {
  // Rows of a Parquet file have the column in every row, empty where it does not apply.
  if (value === undefined || value === null || value === '') return undefined;
  let tools: unknown = value;
  if (typeof value === 'string') {
    try {
      tools = JSON.parse(value);
    } catch (cause) {
      throw wrong('tools is text but not JSON', { cause });
    }
  }
  if (!Array.isArray(tools) || !tools.every(isRecord))
    throw wrong('tools must be a list of JSON schemas, or its JSON text');
  return tools.length === 0 ? undefined : (tools as JsonObject[]);
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const wrong = (problem: string, options?: ErrorOptions) => new PosttrainError('ROW_TOOLS', problem, options);
