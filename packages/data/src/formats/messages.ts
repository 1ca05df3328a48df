import type { ChatMessage } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { isPlainObject, kindOf } from '../rows.js';

/** Whether two JSON values are equal; the order of object keys does not count. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => sameJson(item, b[i]));
  if (!isPlainObject(a) || !isPlainObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
  );
}

/** Throws a `RowError` unless `value` is a non-empty list of chat messages with a role and text content. */
export function assertMessages(
  value: unknown,
  field: string,
  rowNumber: number | undefined,
): asserts value is readonly ChatMessage[] {
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
    const { content } = message;
    if (typeof content !== 'string') {
      const hint = content === null || Array.isArray(content) ? ' Convert it with fromOpenAi.' : '';
      throw new RowError(rowNumber, `${at}.content`, `must be a string, got ${kindOf(content)}.${hint}`);
    }
  }
}

/** Throws a `RowError` unless `value` is a string with something in it. */
export function assertText(value: unknown, field: string, rowNumber: number | undefined): asserts value is string {
  if (typeof value !== 'string') throw new RowError(rowNumber, field, `must be a string, got ${kindOf(value)}.`);
  if (value === '') throw new RowError(rowNumber, field, 'is empty.');
}
