import { type ChatMessage, nearestName } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { parseExactly } from '../io/parse-row.js';
import { isPlainObject, kindOf, type Row, requireRow } from '../rows.js';
import { assertText, mergeColumns } from './messages.js';
import type { RowMessage } from './row-formats.js';
import { type ToolCall, toArguments } from './tool-calls.js';

const ROLES: Readonly<Record<string, ChatMessage['role']>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  function_call: 'assistant',
  observation: 'tool',
  tool: 'tool',
  system: 'system',
};

/**
 * A ShareGPT row, as LLaMA-Factory documents it, as chat:
 * `{conversations: [{from, value}], system?}` becomes `messages`; with single `chosen` and `rejected` turns it becomes
 * conversational `prompt`, `chosen`, `rejected`; with `kto_tag` it becomes `prompt`, `completion`, `label`. Other columns,
 * and other fields of a turn (such as `weight`), stay. `function_call` turns become tool calls. Turns must alternate, human or observation first.
 */
export function fromShareGpt(row: Row, rowNumber?: number): Row {
  requireRow(row, rowNumber);
  const { conversations, system, chosen: givenChosen, rejected: givenRejected, kto_tag: givenTag, ...rest } = row;
  // A column that other rows have is null here, in tables.
  const [chosen, rejected, tag] = [givenChosen, givenRejected, givenTag].map((value) => value ?? undefined);
  if (!Array.isArray(conversations) || conversations.length === 0) {
    throw new RowError(rowNumber, 'conversations', `must be a list of turns, got ${kindOf(conversations)}.`);
  }
  const messages = conversations.map((turn, i) => toMessage(turn, `conversations[${i}]`, rowNumber));
  if (system !== undefined && system !== null && system !== '') {
    assertText(system, 'system', rowNumber);
    if (messages[0]?.role === 'system') {
      throw new RowError(rowNumber, 'system', 'is given beside a system turn; keep one of the two.');
    }
    messages.unshift({ role: 'system', content: system });
  }
  assertAlternating(messages, rowNumber);
  if (chosen !== undefined || rejected !== undefined) {
    assertAnswered(messages, false, rowNumber);
    const pick = toMessage(chosen, 'chosen', rowNumber);
    const other = toMessage(rejected, 'rejected', rowNumber);
    return mergeColumns(rest, { prompt: messages, chosen: [pick], rejected: [other] }, rowNumber);
  }
  assertAnswered(messages, true, rowNumber);
  if (tag === undefined) return mergeColumns(rest, { messages }, rowNumber);
  if (typeof tag !== 'boolean') throw new RowError(rowNumber, 'kto_tag', `must be true or false, got ${kindOf(tag)}.`);
  const made = { prompt: messages.slice(0, -1), completion: messages.slice(-1), label: tag };
  return mergeColumns(rest, made, rowNumber);
}

function toMessage(turn: unknown, field: string, rowNumber: number | undefined): RowMessage {
  if (!isPlainObject(turn)) throw new RowError(rowNumber, field, `must be { from, value }, got ${kindOf(turn)}.`);
  const { from, value, ...others } = turn;
  assertText(from, `${field}.from`, rowNumber);
  if (!Object.hasOwn(ROLES, from)) {
    const near = nearestName(from, Object.keys(ROLES));
    const hint = near === undefined ? '' : ` Did you mean "${near}"?`;
    throw new RowError(
      rowNumber,
      `${field}.from`,
      `unknown role "${from}".${hint} Known: ${Object.keys(ROLES).join(', ')}.`,
    );
  }
  assertText(value, `${field}.value`, rowNumber);
  const role = ROLES[from]!;
  const content = from === 'function_call' ? '' : value;
  const calls = from === 'function_call' ? toCalls(value, `${field}.value`, rowNumber) : undefined;
  return { ...others, role, content, ...(calls !== undefined && { tool_calls: calls }) };
}

/** One call, or a list of calls made at once. */
function toCalls(value: string, field: string, rowNumber: number | undefined): ToolCall[] {
  let parsed: unknown;
  try {
    parsed = parseExactly(value);
  } catch (error) {
    throw new RowError(rowNumber, field, 'must be a JSON object with name and arguments.', { cause: error });
  }
  const calls: readonly unknown[] = Array.isArray(parsed) ? parsed : [parsed];
  if (calls.length === 0) throw new RowError(rowNumber, field, 'must hold at least one call.');
  return calls.map((call) => {
    if (!isPlainObject(call) || typeof call.name !== 'string' || call.arguments === undefined) {
      throw new RowError(rowNumber, field, 'must be a JSON object with name and arguments.');
    }
    return {
      type: 'function',
      function: { name: call.name, arguments: toArguments(call.arguments, field, rowNumber) },
    };
  });
}

function assertAlternating(messages: readonly RowMessage[], rowNumber: number | undefined): void {
  const offset = messages[0]?.role === 'system' ? 1 : 0;
  for (const [i, { role }] of messages.slice(offset).entries()) {
    if (i % 2 === 1 ? role === 'assistant' : role === 'user' || role === 'tool') continue;
    const expected = i % 2 === 0 ? 'human or observation' : 'gpt or function_call';
    throw new RowError(rowNumber, 'conversations', `turn ${i + 1} must be ${expected}, got the role "${role}".`);
  }
}

function assertAnswered(messages: readonly RowMessage[], answered: boolean, rowNumber: number | undefined): void {
  if ((messages.at(-1)?.role === 'assistant') === answered) return;
  const rule = answered ? 'must end with gpt' : 'must not end with gpt, as "chosen" and "rejected" do';
  throw new RowError(rowNumber, 'conversations', `${rule}.`);
}
