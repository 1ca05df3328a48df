import type { ChatMessage } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { isPlainObject, kindOf, type Row } from '../rows.js';
import { assertText } from './messages.js';

/**
 * A row of OpenAI's fine-tuning formats with plain text contents: `{messages}` stays `messages`, and a preference row
 * `{input: {messages, tools?}, preferred_output, non_preferred_output}` becomes conversational `prompt`, `chosen`,
 * `rejected`. Text parts are joined; `null` content beside tool calls becomes the empty string; other fields of a
 * message (`tool_calls`, `weight` ...) and of the row stay. Images, audio and files are a `RowError`.
 */
export function fromOpenAi(row: Row, rowNumber?: number): Row {
  if (row.input === undefined) return { ...row, messages: toMessages(row.messages, 'messages', rowNumber) };
  const { input, preferred_output: preferred, non_preferred_output: nonPreferred, ...rest } = row;
  if (!isPlainObject(input)) throw new RowError(rowNumber, 'input', `must be an object, got ${kindOf(input)}.`);
  const { messages, ...inputRest } = input;
  return {
    ...rest,
    ...inputRest,
    prompt: toMessages(messages, 'input.messages', rowNumber),
    chosen: toMessages(preferred, 'preferred_output', rowNumber),
    rejected: toMessages(nonPreferred, 'non_preferred_output', rowNumber),
  };
}

function toMessages(value: unknown, field: string, rowNumber: number | undefined): ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw new RowError(rowNumber, field, `must be a list of messages, got ${kindOf(value)}.`);
  }
  return value.map((message: unknown, i) => {
    const at = `${field}[${i}]`;
    if (!isPlainObject(message)) throw new RowError(rowNumber, at, `must be an object, got ${kindOf(message)}.`);
    const { role } = message;
    assertText(role, `${at}.role`, rowNumber);
    return { ...message, role, content: toText(message, `${at}.content`, rowNumber) };
  });
}

function toText(message: Row, field: string, rowNumber: number | undefined): string {
  const { content, tool_calls: calls } = message;
  if (typeof content === 'string') return content;
  if ((content === null || content === undefined) && Array.isArray(calls) && calls.length > 0) return '';
  if (!Array.isArray(content)) {
    throw new RowError(rowNumber, field, `must be a string or a list of parts, got ${kindOf(content)}.`);
  }
  const texts = content.map((part: unknown, i) => {
    if (isPlainObject(part) && part.type === 'text' && typeof part.text === 'string') return part.text;
    const kind = isPlainObject(part) ? String(part.type) : kindOf(part);
    throw new RowError(rowNumber, `${field}[${i}]`, `only text parts are supported, got "${kind}".`);
  });
  return texts.join('');
}
