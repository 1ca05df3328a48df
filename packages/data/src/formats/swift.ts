import { RowError } from '../errors.js';
import { isPlainObject, kindOf, type Row, requireRow } from '../rows.js';
import { assertText, mergeColumns, onlyOne } from './messages.js';
import { fromOpenAi } from './openai.js';
import type { RowMessage } from './row-formats.js';

const ROLES: Readonly<Record<string, string>> = {
  ...{
    user: 'user',
    human: 'user',
    assistant: 'assistant',
    gpt: 'assistant',
    bot: 'assistant',
    system: 'system',
    tool: 'tool',
  },
  ...{ tool_response: 'tool', developer: 'system' },
};

/**
 * A row of ms-swift (its "custom dataset" formats) as TRL has it. Read are `messages` (or `conversation`, `conversations`) of `{ role, content }`, of
 * `{ from, value }` or of turns `{ human, assistant }` beside `system`; and `query`, `response`, `history`, `system`. With `rejected_response`, or
 * `rejected_messages`, it becomes conversational `prompt`, `chosen`, `rejected`; with a `label` that is true or false `prompt`, `completion`, `label`;
 * messages that end with the user become `prompt`; else `messages`. Other columns stay, such as `tools`, `images`, or a `label` of a class.
 */
export function fromSwift(row: Row, rowNumber?: number): Row {
  requireRow(row, rowNumber);
  const { messages: standard, conversation, conversations, query, response, history, system, ...rest } = row;
  const { rejected_response: text, rejected_messages: others, label, ...left } = rest;
  const forms = { messages: standard, conversation, conversations, query };
  onlyOne(forms, ['messages', 'conversation', 'conversations', 'query'], rowNumber);
  const given = standard ?? conversation ?? conversations ?? undefined;
  // Of the form with a query, but beside another they are columns of somebody's own, which would be lost.
  if (given !== undefined) {
    onlyOne({ messages: given, response }, ['messages', 'response'], rowNumber);
    onlyOne({ messages: given, history }, ['messages', 'history'], rowNumber);
  }
  const messages =
    given === undefined
      ? ofQuery({ query, response, history, system }, rowNumber)
      : toMessages(given, system, 'messages', rowNumber);
  const answered = messages.at(-1)?.role === 'assistant';
  const isPair = (text ?? others ?? undefined) !== undefined;
  const isVerdict = typeof label === 'boolean';
  if ((isPair || isVerdict) && !answered) {
    throw new RowError(
      rowNumber,
      'messages',
      `must end with an assistant message beside ${isPair ? 'a rejected one' : '"label"'}.`,
    );
  }
  const kept = isVerdict || label === undefined || label === null ? left : { ...left, label };
  if (isPair) {
    if (isVerdict)
      throw new RowError(rowNumber, 'label', 'is given beside a rejected response; drop one or the other.');
    const [prompt, chosen] = lastTurn(messages);
    return mergeColumns(kept, { prompt, chosen, rejected: rejectedOf(text, others, prompt, rowNumber) }, rowNumber);
  }
  if (isVerdict) {
    const [prompt, completion] = lastTurn(messages);
    return mergeColumns(kept, { prompt, completion, label }, rowNumber);
  }
  return mergeColumns(kept, answered ? { messages } : { prompt: messages }, rowNumber);
}

/** What the user has said before the last answer, and the answer, with calls of tools that lead to it. */
function lastTurn(messages: readonly RowMessage[]): [RowMessage[], RowMessage[]] {
  const at = messages.findLastIndex(({ role }) => role === 'user') + 1;
  return [messages.slice(0, at), messages.slice(at)];
}

function rejectedOf(
  text: unknown,
  others: unknown,
  prompt: readonly RowMessage[],
  rowNumber: number | undefined,
): RowMessage[] {
  if (others === undefined || others === null) {
    assertText(text, 'rejected_response', rowNumber);
    return [{ role: 'assistant', content: text }];
  }
  if (text !== undefined && text !== null) {
    throw new RowError(rowNumber, 'rejected_response', 'is given beside "rejected_messages"; keep one of the two.');
  }
  const [before, rejected] = lastTurn(toMessages(others, undefined, 'rejected_messages', rowNumber));
  // They may be the answer alone, or the whole conversation.
  if (before.length > 0 && JSON.stringify(before) !== JSON.stringify(prompt)) {
    throw new RowError(
      rowNumber,
      'rejected_messages',
      'is another conversation than "messages" before the last answer.',
    );
  }
  return rejected;
}

function toMessages(given: unknown, system: unknown, field: string, rowNumber: number | undefined): RowMessage[] {
  if (!Array.isArray(given) || given.length === 0) {
    throw new RowError(rowNumber, field, `must be a list of messages, got ${kindOf(given)}.`);
  }
  const messages = given.flatMap((message: unknown, i): object[] => {
    const at = `${field}[${i}]`;
    if (!isPlainObject(message)) throw new RowError(rowNumber, at, `must be an object, got ${kindOf(message)}.`);
    const { human, user = human, assistant, ...more } = message;
    if (user !== undefined && assistant !== undefined && Object.keys(more).length === 0) {
      return [
        { role: 'user', content: user },
        { role: 'assistant', content: assistant },
      ];
    }
    const { from, value, role = from, content = value, loss, ...fields } = message;
    assertText(role, `${at}.role`, rowNumber);
    if (role === 'tool_call' || role === 'function_call') {
      throw new RowError(
        rowNumber,
        `${at}.role`,
        `"${role}" stands in a turn of its own; write tool_calls, or convert it with fromShareGpt.`,
      );
    }
    if (!Object.hasOwn(ROLES, role)) throw new RowError(rowNumber, `${at}.role`, `unknown role "${role}".`);
    // What swift calls the loss of a message.
    if (loss !== undefined && loss !== null && typeof loss !== 'boolean')
      throw new RowError(rowNumber, `${at}.loss`, `must be true or false, got ${kindOf(loss)}.`);
    const weight = loss === undefined || loss === null ? {} : { weight: loss ? 1 : 0 };
    return [{ ...fields, role: ROLES[role], content, ...weight }];
  });
  if (system !== undefined && system !== null && system !== '') {
    if ((messages[0] as RowMessage).role === 'system') {
      throw new RowError(rowNumber, 'system', 'is given beside a system message; keep one of the two.');
    }
    messages.unshift({ role: 'system', content: system });
  }
  return fromOpenAi({ messages }, rowNumber).messages as RowMessage[];
}

function ofQuery(row: Row, rowNumber: number | undefined): RowMessage[] {
  const { query, response, history, system } = row;
  assertText(query, 'query', rowNumber);
  const turns: unknown[] = Array.isArray(history) ? history : [];
  if (history !== undefined && history !== null && !Array.isArray(history)) {
    throw new RowError(rowNumber, 'history', `must be a list, got ${kindOf(history)}.`);
  }
  const messages = turns.flatMap((turn, i) => {
    if (!Array.isArray(turn) || turn.length !== 2)
      throw new RowError(rowNumber, `history[${i}]`, 'must be a pair of question and answer.');
    return [
      { role: 'user', content: turn[0] as unknown },
      { role: 'assistant', content: turn[1] as unknown },
    ];
  });
  messages.push({ role: 'user', content: query });
  if (response !== undefined && response !== null) messages.push({ role: 'assistant', content: response });
  return toMessages(messages, system, 'messages', rowNumber);
}

/**
 * A conversational row of TRL in ms-swift's standard format, which `fromSwift` gives back: `messages`; with `rejected_response` (or, where it is more than a
 * text, `rejected_messages`) of a preference; with `label` of a verdict.
 */
export function toSwift(row: Row, rowNumber?: number): Row {
  requireRow(row, rowNumber);
  const { messages, prompt, completion, chosen, rejected, label, ...rest } = row;
  onlyOne(row, ['messages', 'prompt'], rowNumber);
  onlyOne(row, ['messages', 'completion', 'chosen'], rowNumber);
  const answer = chosen ?? completion ?? undefined;
  const before = prompt ?? undefined;
  if (before !== undefined && !Array.isArray(before)) {
    throw new RowError(rowNumber, 'prompt', 'must be a list of messages; ms-swift has no plain prompts.');
  }
  const made =
    before === undefined
      ? messages
      : [...before, ...list(answer, chosen === undefined ? 'completion' : 'chosen', rowNumber)];
  const verdict = label === undefined || label === null ? {} : { label };
  if (rejected === undefined || rejected === null)
    return { ...rest, messages: swiftMessages(made, rowNumber), ...verdict };
  const others = list(rejected, 'rejected', rowNumber);
  const { role, content, ...more } = (others[0] ?? {}) as Row;
  const isText = others.length === 1 && role === 'assistant' && Object.keys(more).length === 0;
  return {
    ...rest,
    messages: swiftMessages(made, rowNumber),
    ...(isText ? { rejected_response: content } : { rejected_messages: swiftMessages(others, rowNumber) }),
    ...verdict,
  };
}

function list(value: unknown, field: string, rowNumber: number | undefined): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw new RowError(rowNumber, field, `must be a list of messages, got ${kindOf(value)}.`);
}

function swiftMessages(messages: unknown, rowNumber: number | undefined): unknown[] {
  if (!Array.isArray(messages))
    throw new RowError(rowNumber, 'messages', `must be a list of messages, got ${kindOf(messages)}.`);
  return messages.map((message: unknown, i) => {
    if (!isPlainObject(message))
      throw new RowError(rowNumber, `messages[${i}]`, `must be an object, got ${kindOf(message)}.`);
    const { weight, ...rest } = message;
    if (![undefined, null, 0, 1].includes(weight as number))
      throw new RowError(rowNumber, `messages[${i}].weight`, 'must be 0 or 1; the loss of ms-swift is all or nothing.');
    return weight === undefined || weight === null ? rest : { ...rest, loss: weight === 1 };
  });
}
