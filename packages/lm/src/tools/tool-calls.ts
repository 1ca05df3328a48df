import type { JsonObject } from '../files.js';
import type { ToolCallPiece } from './call-pieces.js';
import { JsonCallParser } from './json-call-parser.js';
import { OPEN, TagCallParser } from './tag-call-parser.js';
import type { ToolFormat } from './tool-format.js';

/** What a parser of tool calls has read: text that is none, and pieces of calls. */
export interface ParsedPiece {
  /** Text that is certainly not part of a call. */
  readonly text: string;
  readonly calls: readonly ToolCallPiece[];
}

/**
 * Streaming parser of tool calls. What could become one is buffered; what looked like one and is not is text. A call
 * is passed on from where its name is known and its arguments begin; from there on it is one, whatever follows.
 */
export interface ToolCallParser {
  push(text: string): ParsedPiece;
  /** What was held back, when nothing follows. */
  end(): ParsedPiece;
}

/** JSON Schemas of the parameters of the functions that were offered, by their names. */
export type OfferedFunctions = ReadonlyMap<string, JsonObject>;

/** A parser of the tool calls in a model's text, by the format that the model writes them in. */
export const toolCallParser = (format: ToolFormat, functions: OfferedFunctions): ToolCallParser =>
  format === 'tags' ? new TagCallParser(functions) : new JsonCallParser(functions);

/** For an answer that was constrained to be one call and nothing else. */
export const forcedCallParser = (functions: OfferedFunctions): ToolCallParser => new JsonCallParser(functions);

/** What a forced call must look like: one of the functions, with arguments of its schema. */
export function callSchema(functions: readonly JsonObject[], format: ToolFormat): JsonObject {
  const key = format === 'tags' ? 'arguments' : 'parameters';
  const one = (it: JsonObject): JsonObject => ({
    type: 'object',
    properties: { name: { type: 'string', const: it.name }, [key]: it.parameters ?? { type: 'object' } },
    required: ['name', key],
    additionalProperties: false,
  });
  return functions.length === 1 ? one(functions[0]!) : { anyOf: functions.map(one) };
}

/** What a prompt goes on with so that the next text is the JSON of a call. */
export const callOpening = (format: ToolFormat): string => (format === 'tags' ? `${OPEN}\n` : '');
