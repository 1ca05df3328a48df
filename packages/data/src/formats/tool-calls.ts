import { RowError } from '../errors.js';
import { parseExactly } from '../io/parse-row.js';
import { isPlainObject, kindOf } from '../rows.js';
import { assertText } from './messages.js';

/** A call of a function as chat templates take it. */
export type ToolCall = {
  readonly id?: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> };
};

/**
 * A tool call of the OpenAI format with its arguments as an object (in the order of the text, but for keys that are integers, which
 * JavaScript puts first; integers that a number cannot hold are bigints). Anything in it that the format does not have is a `RowError`, not dropped.
 */
export function toToolCall(
  call: unknown,
  at: string,
  rowNumber: number | undefined,
  functionField = 'function',
): ToolCall {
  if (!isPlainObject(call)) throw new RowError(rowNumber, at, `must be an object, got ${kindOf(call)}.`);
  const { id, type, function: it, index: _, ...unknown } = call;
  refuse(unknown, at, rowNumber);
  if (type !== undefined && type !== null && type !== 'function') {
    throw new RowError(rowNumber, `${at}.type`, `must be "function", got ${JSON.stringify(type)}.`);
  }
  const inside = `${at}.${functionField}`;
  if (!isPlainObject(it)) throw new RowError(rowNumber, inside, `must be an object, got ${kindOf(it)}.`);
  const { name, arguments: given, ...others } = it;
  refuse(others, inside, rowNumber);
  assertText(name, `${inside}.name`, rowNumber);
  if (id !== undefined && id !== null) assertText(id, `${at}.id`, rowNumber);
  return {
    ...(typeof id === 'string' && { id }),
    type: 'function',
    function: { name, arguments: toArguments(given, `${inside}.arguments`, rowNumber) },
  };
}

/** An object, or the JSON text of one. No text is no arguments. */
export function toArguments(
  value: unknown,
  field: string,
  rowNumber: number | undefined,
): Readonly<Record<string, unknown>> {
  if (isPlainObject(value)) return value;
  if (value === undefined || value === null) return {};
  if (typeof value !== 'string') {
    throw new RowError(rowNumber, field, `must be an object or its JSON text, got ${kindOf(value)}.`);
  }
  if (value.trim() === '') return {};
  let parsed: unknown;
  try {
    parsed = parseExactly(value);
  } catch (error) {
    throw new RowError(rowNumber, field, 'must be the JSON text of an object, but is no JSON.', { cause: error });
  }
  if (isPlainObject(parsed)) return parsed;
  throw new RowError(
    rowNumber,
    field,
    `must be the JSON text of an object, got that of a value of kind ${kindOf(parsed)}.`,
  );
}

function refuse(unknown: object, at: string, rowNumber: number | undefined): void {
  for (const [key, value] of Object.entries(unknown)) {
    if (value === undefined || value === null) continue;
    throw new RowError(rowNumber, `${at}.${key}`, 'is not a field of a tool call; remove it.');
  }
}
