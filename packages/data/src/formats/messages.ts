import { RowError } from '../errors.js';
import { isPlainObject, kindOf, ownValue, type Row } from '../rows.js';
import type { RowMessage } from './row-formats.js';

/** The columns of both. A column that both have, and not null, is a `RowError`: one of the two would be lost. */
export function mergeColumns(row: Row, made: Row, rowNumber: number | undefined): Row {
  for (const column of Object.keys(made)) {
    const before = ownValue(row, column);
    if (before === undefined || before === null || made[column] === undefined || made[column] === null) continue;
    throw new RowError(
      rowNumber,
      column,
      'is a column already, which the conversion would overwrite; rename or drop it.',
    );
  }
  return { ...row, ...made };
}

/** Throws a `RowError` where more than one of the columns is there, and not null: only one can be converted. */
export function onlyOne(row: Row, columns: readonly string[], rowNumber: number | undefined): void {
  const [first, second] = columns.filter((column) => (ownValue(row, column) ?? undefined) !== undefined);
  if (second === undefined) return;
  throw new RowError(
    rowNumber,
    second,
    `is given beside "${first}", and would be lost; rename or drop one of the two.`,
  );
}

const SHAREGPT_ROLES = ['human', 'gpt', 'function_call', 'observation'];
const CHAT_ROLES = ['system', 'user', 'assistant', 'tool', 'developer'];

/** Throws a `RowError` unless `value` is a non-empty list of chat messages with a role and text content. */
export function assertMessages(
  value: unknown,
  field: string,
  rowNumber: number | undefined,
): asserts value is readonly RowMessage[] {
  if (!Array.isArray(value)) throw new RowError(rowNumber, field, `must be a list of messages, got ${kindOf(value)}.`);
  if (value.length === 0) throw new RowError(rowNumber, field, 'must hold at least one message.');
  for (const [i, message] of value.entries()) {
    const at = `${field}[${i}]`;
    if (!isPlainObject(message)) throw new RowError(rowNumber, at, `must be an object, got ${kindOf(message)}.`);
    if ('from' in message && !('role' in message)) {
      throw new RowError(
        rowNumber,
        at,
        'has "from" and "value"; convert it with maybeConvertToChatml or fromShareGpt.',
      );
    }
    assertText(message.role, `${at}.role`, rowNumber);
    assertRole(message.role, `${at}.role`, rowNumber);
    assertWeight(message, at, rowNumber);
    assertCalls(message.tool_calls, `${at}.tool_calls`, rowNumber);
    const { content } = message;
    if (typeof content !== 'string') {
      const hint = content === null || Array.isArray(content) ? ' Convert it with fromOpenAi.' : '';
      throw new RowError(rowNumber, `${at}.content`, `must be a string, got ${kindOf(content)}.${hint}`);
    }
  }
}

/** Any role that a template may know, but none that is another format's, or a known one in other letters. */
function assertRole(role: string, field: string, rowNumber: number | undefined): void {
  if (SHAREGPT_ROLES.includes(role)) {
    throw new RowError(rowNumber, field, `"${role}" is a role of ShareGPT; convert the row with fromShareGpt.`);
  }
  const known = CHAT_ROLES.find((one) => one !== role && one === role.trim().toLowerCase());
  if (known !== undefined) throw new RowError(rowNumber, field, `must be "${known}", got "${role}".`);
}

function assertWeight(message: Row, at: string, rowNumber: number | undefined): void {
  const { weight, role } = message;
  if (weight === undefined || weight === null) return;
  if (role === 'assistant' && (weight === 0 || weight === 1)) return;
  throw new RowError(rowNumber, `${at}.weight`, 'must be 0 or 1, on an assistant message.');
}

/** Templates print arguments as JSON, so that a JSON text would become a JSON text in a JSON text. */
function assertCalls(calls: unknown, field: string, rowNumber: number | undefined): void {
  if (calls === undefined || calls === null) return;
  if (!Array.isArray(calls)) throw new RowError(rowNumber, field, `must be a list, got ${kindOf(calls)}.`);
  for (const [i, call] of calls.entries()) {
    const it = isPlainObject(call) && isPlainObject(call.function) ? call.function : call;
    if (!isPlainObject(it) || typeof it.arguments !== 'string') continue;
    const problem = 'is a JSON text, which templates would quote again; make it an object (fromOpenAi does).';
    throw new RowError(rowNumber, `${field}[${i}].function.arguments`, problem);
  }
}

/** Throws a `RowError` unless `value` is a string with something in it. */
export function assertText(value: unknown, field: string, rowNumber: number | undefined): asserts value is string {
  if (typeof value !== 'string') throw new RowError(rowNumber, field, `must be a string, got ${kindOf(value)}.`);
  if (value === '') throw new RowError(rowNumber, field, 'is empty.');
}
