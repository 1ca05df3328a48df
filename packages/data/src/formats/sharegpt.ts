import { type ChatMessage, nearestName } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { isPlainObject, kindOf, type Row } from '../rows.js';
import { assertText } from './messages.js';

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
 * conversational `prompt`, `chosen`, `rejected`; with `kto_tag` it becomes `prompt`, `completion`, `label`. Other columns
 * stay. `function_call` turns become tool calls. Turns must alternate, human or observation first.
 */
export function fromShareGpt(row: Row, rowNumber?: number): Row {
  const { conversations, system, chosen, rejected, kto_tag: tag, ...rest } = row;
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
    return { ...rest, prompt: messages, chosen: [pick], rejected: [toMessage(rejected, 'rejected', rowNumber)] };
  }
  assertAnswered(messages, true, rowNumber);
  if (tag === undefined) return { ...rest, messages };
  if (typeof tag !== 'boolean') throw new RowError(rowNumber, 'kto_tag', `must be true or false, got ${kindOf(tag)}.`);
  return { ...rest, prompt: messages.slice(0, -1), completion: messages.slice(-1), label: tag };
}

function toMessage(turn: unknown, field: string, rowNumber: number | undefined): ChatMessage {
  if (!isPlainObject(turn)) throw new RowError(rowNumber, field, `must be { from, value }, got ${kindOf(turn)}.`);
  const { from, value } = turn;
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
  if (from !== 'function_call') return { role, content: value };
  return { role, content: '', tool_calls: [toToolCall(value, `${field}.value`, rowNumber)] };
}

function toToolCall(value: string, field: string, rowNumber: number | undefined): unknown {
  let call: unknown;
  try {
    call = JSON.parse(value);
  } catch (error) {
    throw new RowError(rowNumber, field, 'must be a JSON object with name and arguments.', { cause: error });
  }
  if (!isPlainObject(call) || typeof call.name !== 'string' || call.arguments === undefined) {
    throw new RowError(rowNumber, field, 'must be a JSON object with name and arguments.');
  }
  return { type: 'function', function: { name: call.name, arguments: call.arguments } };
}

function assertAlternating(messages: readonly ChatMessage[], rowNumber: number | undefined): void {
  const offset = messages[0]?.role === 'system' ? 1 : 0;
  for (const [i, { role }] of messages.slice(offset).entries()) {
    if ((role === 'assistant') === (i % 2 === 1)) continue;
    const expected = i % 2 === 0 ? 'human or observation' : 'gpt or function_call';
    throw new RowError(rowNumber, 'conversations', `turn ${i + 1} must be ${expected}, got the role "${role}".`);
  }
}

function assertAnswered(messages: readonly ChatMessage[], answered: boolean, rowNumber: number | undefined): void {
  if ((messages.at(-1)?.role === 'assistant') === answered) return;
  const rule = answered ? 'must end with gpt' : 'must not end with gpt, as "chosen" and "rejected" do';
  throw new RowError(rowNumber, 'conversations', `${rule}.`);
}
