import { isDeepStrictEqual } from 'node:util';
import type { ChatMessage } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

/** A call of a tool, its arguments read. */
export interface ToolCall {
  readonly name: string;
  /** `undefined` where the model wrote no JSON object. */
  readonly args: Readonly<Record<string, unknown>> | undefined;
}

/**
 * The calls of a message in the OpenAI format (`tool_calls[].function.{ name, arguments }`, arguments as JSON text or as an object), in their order.
 *
 * @throws EvaluationError `BAD_TRAJECTORY` for a call without a name
 */
export function toolCallsOf({ tool_calls: calls }: ChatMessage): ToolCall[] {
  return (calls ?? []).map((call): ToolCall => {
    const { function: named = call } = (call ?? {}) as { readonly function?: unknown };
    const { name, arguments: given, args = given } = (named ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof name === 'string') return { name, args: argsOf(args) };
    throw new EvaluationError(
      'BAD_TRAJECTORY',
      `a tool call is ${JSON.stringify(call)}; it needs function: { name, arguments }, as the OpenAI API has it.`,
    );
  });
}

function argsOf(given: unknown): ToolCall['args'] {
  if (typeof given !== 'string') return isObject(given) ? given : given === undefined ? {} : undefined;
  try {
    const read: unknown = JSON.parse(given);
    return isObject(read) ? read : undefined;
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** How arguments are compared: all equal, not at all, or those of one among those of the other. */
export const ARGUMENT_MODES = ['exact', 'ignore', 'subset', 'superset'] as const;
/** One of these modes. */
export type ArgumentMode = (typeof ARGUMENT_MODES)[number];

/** How arguments of one tool are compared: a mode, paths that must be equal (`a.b`), or a function. */
export type ArgumentRule =
  | ArgumentMode
  | readonly string[]
  | ((args: Readonly<Record<string, unknown>>, reference: Readonly<Record<string, unknown>>) => boolean);

/** Whether a call is one of a reference: one tool, and arguments by its rule. Arguments that are no JSON object match nothing, unless ignored. */
export function matchesCall(
  call: ToolCall,
  reference: ToolCall,
  mode: ArgumentMode,
  rules: Readonly<Record<string, ArgumentRule>>,
): boolean {
  if (call.name !== reference.name) return false;
  const rule = Object.hasOwn(rules, reference.name) ? rules[reference.name]! : mode;
  if (rule === 'ignore') return true;
  const [args, expected] = [call.args, reference.args];
  if (args === undefined || expected === undefined) return false;
  if (typeof rule === 'function') return rule(args, expected);
  if (rule === 'exact') return isDeepStrictEqual(args, expected);
  if (rule === 'subset') return isWithin(args, expected);
  if (rule === 'superset') return isWithin(expected, args);
  return rule.every((path) => isDeepStrictEqual(at(args, path), at(expected, path)));
}

const isWithin = (some: Readonly<Record<string, unknown>>, all: Readonly<Record<string, unknown>>): boolean =>
  Object.entries(some).every(([key, value]) => Object.hasOwn(all, key) && isDeepStrictEqual(all[key], value));

function at(value: unknown, path: string): unknown {
  let found = value;
  for (const key of path.split('.')) {
    if (!isObject(found) || !Object.hasOwn(found, key)) return null;
    found = found[key];
  }
  return found;
}
