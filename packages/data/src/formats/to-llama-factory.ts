import { RowError } from '../errors.js';
import { stringifyExactly } from '../io/parse-row.js';
import { kindOf, type Row, requireRow } from '../rows.js';
import { onlyOne } from './messages.js';
import type { RowMessage } from './row-formats.js';
import type { ToolCall } from './tool-calls.js';

const FROM: Readonly<Record<string, string>> = {
  system: 'system',
  user: 'human',
  assistant: 'gpt',
  tool: 'observation',
};

/**
 * A conversational row of TRL as LLaMA-Factory's ShareGPT format, which `fromShareGpt` gives back: `conversations`; with `chosen` and `rejected` of a preference,
 * `kto_tag` of a verdict. Calls of tools become `function_call`. Refused is what the format has no place for: several answers of tools in a row, text
 * beside a call, ids of calls, a preference of several messages.
 */
export function toShareGpt(row: Row, rowNumber?: number): Row {
  const { messages, answers, label, rest } = partsOf(row, rowNumber);
  if (answers.chosen !== undefined) {
    const single = (name: 'chosen' | 'rejected') => {
      const turns = answers[name] ?? [];
      if (turns.length === 1) return toTurn(turns[0]!, name, rowNumber);
      throw new RowError(rowNumber, name, `must be one message, got ${turns.length}.`);
    };
    return {
      ...rest,
      conversations: toTurns(messages, rowNumber),
      chosen: single('chosen'),
      rejected: single('rejected'),
    };
  }
  const all = [...messages, ...(answers.completion ?? [])];
  return { ...rest, conversations: toTurns(all, rowNumber), ...(label !== undefined && { kto_tag: label }) };
}

/**
 * A conversational row of TRL as LLaMA-Factory's Alpaca format, which `fromAlpacaToChat` gives back: `instruction`, `output` (or `chosen` and `rejected`), `system`,
 * `history`, `kto_tag`. Refused is what the format has no place for: calls of tools, weights, turns that do not alternate.
 */
export function toAlpaca(row: Row, rowNumber?: number): Row {
  const { messages, answers, label, rest } = partsOf(row, rowNumber);
  const turns = answers.completion === undefined && answers.chosen === undefined ? messages.slice(0, -1) : messages;
  const last = answers.completion ?? messages.slice(-1);
  const text = (message: RowMessage | undefined, field: string, role: string): string => {
    const more = Object.keys(message ?? {}).find((key) => key !== 'role' && key !== 'content');
    if (message?.role !== role)
      throw new RowError(rowNumber, field, `must be of "${role}", got ${message?.role ?? 'nothing'}.`);
    if (more !== undefined)
      throw new RowError(rowNumber, `${field}.${more}`, 'has no place in the Alpaca format; use toShareGpt.');
    return message.content as string;
  };
  const one = (given: readonly RowMessage[] | undefined, name: string): string => {
    if (given?.length === 1) return text(given[0], name, 'assistant');
    throw new RowError(rowNumber, name, `must be one message, got ${given?.length ?? 0}.`);
  };
  const system = turns[0]?.role === 'system' ? { system: text(turns[0], 'system', 'system') } : {};
  const said = turns.slice('system' in system ? 1 : 0);
  const history: [string, string][] = [];
  for (let i = 0; i + 1 < said.length; i += 2) {
    history.push([text(said[i], `messages[${i}]`, 'user'), text(said[i + 1], `messages[${i + 1}]`, 'assistant')]);
  }
  const instruction = text(said.length % 2 === 1 ? said.at(-1) : undefined, 'prompt', 'user');
  const outputs =
    answers.chosen === undefined
      ? { output: one(last, 'completion') }
      : { chosen: one(answers.chosen, 'chosen'), rejected: one(answers.rejected, 'rejected') };
  return {
    ...rest,
    ...system,
    instruction,
    ...outputs,
    ...(history.length > 0 && { history }),
    ...(label !== undefined && { kto_tag: label }),
  };
}

interface Parts {
  readonly messages: readonly RowMessage[];
  readonly answers: Readonly<Partial<Record<'completion' | 'chosen' | 'rejected', readonly RowMessage[]>>>;
  readonly label: boolean | undefined;
  readonly rest: Row;
}

function partsOf(row: Row, rowNumber: number | undefined): Parts {
  requireRow(row, rowNumber);
  const { messages, prompt, completion, chosen, rejected, label, ...rest } = row;
  onlyOne(row, ['messages', 'prompt'], rowNumber);
  onlyOne(row, ['messages', 'completion', 'chosen'], rowNumber);
  onlyOne(row, ['label', 'chosen'], rowNumber);
  const list = (value: unknown, field: string): readonly RowMessage[] => {
    if (Array.isArray(value)) return value as RowMessage[];
    throw new RowError(rowNumber, field, `must be a list of messages, got ${kindOf(value)}.`);
  };
  const given = { completion, chosen, rejected };
  const answers = Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) =>
      value === undefined || value === null ? [] : [[name, list(value, name)]],
    ),
  );
  if ((answers.chosen === undefined) !== (answers.rejected === undefined)) {
    throw new RowError(rowNumber, answers.chosen === undefined ? 'chosen' : 'rejected', 'is missing beside the other.');
  }
  const before = prompt ?? messages;
  const field = prompt === undefined || prompt === null ? 'messages' : 'prompt';
  const verdict = label ?? undefined;
  if (verdict !== undefined && typeof verdict !== 'boolean') {
    throw new RowError(rowNumber, 'label', `must be true or false, got ${kindOf(verdict)}.`);
  }
  return { messages: list(before, field), answers, label: verdict, rest };
}

function toTurns(messages: readonly RowMessage[], rowNumber: number | undefined): Row[] {
  const turns = messages.map((message, i) => toTurn(message, `messages[${i}]`, rowNumber));
  const said = turns.slice(turns[0]?.from === 'system' ? 1 : 0);
  const wrong = said.findIndex(({ from }, i) => (from === 'human' || from === 'observation') !== (i % 2 === 0));
  if (wrong === -1) return turns;
  throw new RowError(
    rowNumber,
    'messages',
    `do not take turns, as ShareGPT has it, at the role of "${String(said[wrong]!.from)}".`,
  );
}

function toTurn(message: RowMessage, at: string, rowNumber: number | undefined): Row {
  const { role, content, tool_calls: given, ...rest } = message;
  const calls = given as readonly ToolCall[] | null | undefined;
  if (!Object.hasOwn(FROM, role)) throw new RowError(rowNumber, `${at}.role`, `"${role}" is no role of ShareGPT.`);
  if (calls === undefined || calls === null || calls.length === 0) return { ...rest, from: FROM[role], value: content };
  if (content !== '')
    throw new RowError(rowNumber, `${at}.content`, 'is beside calls of tools; ShareGPT has one or the other.');
  const withId = calls.findIndex(({ id }) => id !== undefined);
  if (withId !== -1)
    throw new RowError(rowNumber, `${at}.tool_calls[${withId}].id`, 'has no place in ShareGPT; drop it.');
  const made = calls.map((call) => call.function);
  return { ...rest, from: 'function_call', value: stringifyExactly(made.length === 1 ? made[0] : made) };
}
