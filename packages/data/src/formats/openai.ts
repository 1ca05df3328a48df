import { RowError } from '../errors.js';
import { isPlainObject, kindOf, type Row, requireRow } from '../rows.js';
import { assertText, mergeColumns } from './messages.js';
import type { RowMessage } from './row-formats.js';
import { toToolCall } from './tool-calls.js';

/** As in the API; `function` is the older name of `tool`. */
const ROLES = ['system', 'developer', 'user', 'assistant', 'tool', 'function'];

/**
 * A row of OpenAI's fine-tuning formats as chat templates take it, which is also what `createServer` of `@posttrain/lm` makes of a
 * request: `{messages}` stays `messages`, and a preference row `{input: {messages, tools?}, preferred_output, non_preferred_output}` becomes
 * conversational `prompt`, `chosen`, `rejected`, with `tools` and what else is in `input` as columns.
 *
 * Arguments of tool calls, a JSON text in this format, become objects; text parts are joined; `null` content beside tool
 * calls becomes the empty string; a `refusal` becomes the content; the role `developer` becomes `system`. The deprecated `function_call`,
 * role `function` and column `functions` become tool calls, `tool` and `tools`. `weight` (0 or 1, of assistant messages) stays: a
 * message with weight 0 is not trained. Other fields of a message and of the row stay too. Images, audio, files, unknown roles,
 * arguments that are no JSON object and rows in which every weight is 0 are a `RowError`.
 */
export function fromOpenAi(row: Row, rowNumber?: number): Row {
  requireRow(row, rowNumber);
  if (row.input === undefined || row.input === null) {
    const { messages: given, input: _, ...rest } = row;
    const messages = toMessages(given, 'messages', rowNumber);
    const said = messages.filter((message) => message.role === 'assistant');
    if (said.length > 0 && said.every((message) => message.weight === 0)) {
      throw new RowError(rowNumber, 'messages', 'every assistant message has weight 0, so nothing would be trained.');
    }
    return mergeColumns(withTools(rest, rowNumber), { messages }, rowNumber);
  }
  const { input, preferred_output: preferred, non_preferred_output: nonPreferred, ...rest } = row;
  if (!isPlainObject(input)) throw new RowError(rowNumber, 'input', `must be an object, got ${kindOf(input)}.`);
  const { messages, ...inputRest } = input;
  const columns = mergeColumns(rest, withTools(inputRest, rowNumber), rowNumber);
  return mergeColumns(
    columns,
    {
      prompt: toMessages(messages, 'input.messages', rowNumber),
      chosen: toOutput(preferred, 'preferred_output', rowNumber),
      rejected: toOutput(nonPreferred, 'non_preferred_output', rowNumber),
    },
    rowNumber,
  );
}

function toOutput(value: unknown, field: string, rowNumber: number | undefined): RowMessage[] {
  const messages = toMessages(value, field, rowNumber);
  const silent = messages.findIndex((message) => message.weight === 0);
  if (silent === -1) return messages;
  throw new RowError(rowNumber, `${field}[${silent}].weight`, 'is 0, but a preference is between whole outputs.');
}

/** `functions` as `tools`. */
function withTools(row: Row, rowNumber: number | undefined): Row {
  const { functions, ...rest } = row;
  const { tools } = rest;
  if (tools !== undefined && tools !== null && !Array.isArray(tools) && typeof tools !== 'string') {
    throw new RowError(rowNumber, 'tools', `must be a list, got ${kindOf(tools)}.`);
  }
  if (functions === undefined || functions === null) return rest;
  if (tools !== undefined && tools !== null) {
    throw new RowError(rowNumber, 'functions', 'is given beside "tools"; drop the deprecated "functions".');
  }
  if (!Array.isArray(functions))
    throw new RowError(rowNumber, 'functions', `must be a list, got ${kindOf(functions)}.`);
  return { ...rest, tools: functions.map((it: unknown) => ({ type: 'function', function: it })) };
}

function toMessages(value: unknown, field: string, rowNumber: number | undefined): RowMessage[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw new RowError(rowNumber, field, `must be a list of messages, got ${kindOf(value)}.`);
  }
  return value.map((message: unknown, i) => {
    const at = `${field}[${i}]`;
    if (!isPlainObject(message)) throw new RowError(rowNumber, at, `must be an object, got ${kindOf(message)}.`);
    return toMessage(message, at, rowNumber);
  });
}

function toMessage(message: Row, at: string, rowNumber: number | undefined): RowMessage {
  const {
    role,
    content: _,
    name,
    tool_calls: __,
    function_call: ___,
    weight,
    refusal: ____,
    audio,
    ...others
  } = message;
  assertText(role, `${at}.role`, rowNumber);
  if (!ROLES.includes(role)) {
    throw new RowError(rowNumber, `${at}.role`, `must be one of ${ROLES.join(', ')}, got "${role}".`);
  }
  if (audio !== undefined && audio !== null) throw new RowError(rowNumber, `${at}.audio`, 'audio is not supported.');
  if (name !== undefined && name !== null) assertText(name, `${at}.name`, rowNumber);
  const isAssistant = role === 'assistant';
  if (weight !== undefined && weight !== null && !(isAssistant && (weight === 0 || weight === 1))) {
    throw new RowError(rowNumber, `${at}.weight`, 'must be 0 or 1, on an assistant message.');
  }
  const calls = toCalls(message, at, isAssistant, rowNumber);
  // In the order of the server's messages, for templates that print a message whole.
  const { tool_call_id: id, reasoning, ...rest } = others;
  const reasoned = rest.reasoning_content ?? reasoning;
  return {
    role: role === 'developer' ? 'system' : role === 'function' ? 'tool' : role,
    content: toContent(message, calls.length > 0, at, rowNumber),
    ...(typeof name === 'string' && { name }),
    ...(calls.length > 0 && { tool_calls: calls }),
    ...(id !== undefined && id !== null && { tool_call_id: textOf(id, `${at}.tool_call_id`, rowNumber) }),
    ...rest,
    ...(reasoned !== undefined && reasoned !== null && { reasoning_content: reasoned }),
    ...((weight === 0 || weight === 1) && { weight }),
  };
}

function textOf(value: unknown, field: string, rowNumber: number | undefined): string {
  assertText(value, field, rowNumber);
  return value;
}

function toCalls(message: Row, at: string, isAssistant: boolean, rowNumber: number | undefined) {
  const { tool_calls: calls, function_call: call } = message;
  const list = calls ?? [];
  if (!Array.isArray(list)) throw new RowError(rowNumber, `${at}.tool_calls`, `must be a list, got ${kindOf(list)}.`);
  const made = list.map((one: unknown, i) => toToolCall(one, `${at}.tool_calls[${i}]`, rowNumber));
  if (call !== undefined && call !== null) {
    if (made.length > 0) {
      throw new RowError(rowNumber, `${at}.function_call`, 'is given beside "tool_calls"; drop the deprecated one.');
    }
    made.push(toToolCall({ function: call }, at, rowNumber, 'function_call'));
  }
  if (made.length > 0 && !isAssistant) {
    throw new RowError(
      rowNumber,
      `${at}.tool_calls`,
      `only an assistant calls tools, the role is "${String(message.role)}".`,
    );
  }
  return made;
}

function toContent(message: Row, calls: boolean, at: string, rowNumber: number | undefined): string {
  const { content, refusal } = message;
  const field = `${at}.content`;
  const text = joinParts(content, field, rowNumber);
  if (refusal !== undefined && refusal !== null) {
    assertText(refusal, `${at}.refusal`, rowNumber);
    if (text !== undefined && text !== '') {
      throw new RowError(rowNumber, `${at}.refusal`, 'is given beside "content"; keep what the assistant is to say.');
    }
    return refusal;
  }
  if (text === undefined && !calls) {
    throw new RowError(rowNumber, field, `must be a string or a list of parts, got ${kindOf(content)}.`);
  }
  return text ?? '';
}

function joinParts(content: unknown, field: string, rowNumber: number | undefined): string | undefined {
  if (content === null || content === undefined || typeof content === 'string') return content ?? undefined;
  if (!Array.isArray(content)) {
    throw new RowError(rowNumber, field, `must be a string or a list of parts, got ${kindOf(content)}.`);
  }
  const texts = content.map((part: unknown, i) => {
    if (isPlainObject(part) && part.type === 'text' && typeof part.text === 'string') return part.text;
    if (isPlainObject(part) && part.type === 'refusal' && typeof part.refusal === 'string') return part.refusal;
    const kind = isPlainObject(part) ? String(part.type) : kindOf(part);
    throw new RowError(rowNumber, `${field}[${i}]`, `only text parts are supported, got "${kind}".`);
  });
  return texts.join('');
}
