import type { ChatMessage } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { kindOf, type Row, requireRow } from '../rows.js';
import { assertText, mergeColumns } from './messages.js';

/** The fields of a preference or an SFT row of the Alpaca format, still apart. */
interface AlpacaParts {
  readonly instruction: string;
  readonly input: string;
  readonly completions: Readonly<Record<string, string>>;
  readonly system: string;
  readonly history: readonly (readonly [string, string])[];
  readonly label: boolean | undefined;
  readonly rest: Row;
}

/**
 * An Alpaca row `{instruction, input?, output}` as standard `prompt` and `completion`, with the prompt template of
 * Stanford Alpaca, for models without a chat template. With `chosen` and `rejected` instead of `output`, a preference
 * row; with `kto_tag`, a verdict as `label`. Other columns stay. Rows with `system` or `history` need `fromAlpacaToChat`.
 */
export function fromAlpaca(row: Row, rowNumber?: number): Row {
  const { instruction, input, completions, system, history, label, rest } = parts(row, rowNumber);
  if (system !== '' || history.length > 0) {
    const field = system === '' ? 'history' : 'system';
    throw new RowError(rowNumber, field, 'has no place in a plain prompt; use fromAlpacaToChat.');
  }
  const task = 'Below is an instruction that describes a task';
  const ask = 'Write a response that appropriately completes the request.';
  const prompt =
    input === ''
      ? `${task}. ${ask}\n\n### Instruction:\n${instruction}\n\n### Response:\n`
      : `${task}, paired with an input that provides further context. ${ask}\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`;
  return mergeColumns(rest, { prompt, ...completions, ...(label !== undefined && { label }) }, rowNumber);
}

/**
 * An Alpaca row `{instruction, input?, output, system?, history?}` as conversational `prompt` and `completion` (or
 * `chosen` and `rejected`; with `kto_tag`, a verdict as `label`). As in LLaMA-Factory the user says the instruction, a line feed and the input.
 */
export function fromAlpacaToChat(row: Row, rowNumber?: number): Row {
  const { instruction, input, completions, system, history, label, rest } = parts(row, rowNumber);
  const prompt: ChatMessage[] = system === '' ? [] : [{ role: 'system', content: system }];
  for (const [question, reply] of history) {
    prompt.push({ role: 'user', content: question }, { role: 'assistant', content: reply });
  }
  prompt.push({ role: 'user', content: input === '' ? instruction : `${instruction}\n${input}` });
  const turns = Object.entries(completions).map(([name, content]) => [name, [{ role: 'assistant', content }]]);
  const verdict = label === undefined ? {} : { label };
  return mergeColumns(rest, { prompt, ...Object.fromEntries(turns), ...verdict }, rowNumber);
}

function parts(row: Row, rowNumber: number | undefined): AlpacaParts {
  requireRow(row, rowNumber);
  const { instruction, input, output, chosen, rejected, system, history, kto_tag: tag, ...rest } = row;
  assertText(instruction, 'instruction', rowNumber);
  // A column that other rows have is null here, in tables.
  const pair = (chosen ?? rejected ?? undefined) !== undefined;
  if (pair && output !== undefined && output !== null) {
    throw new RowError(rowNumber, 'output', 'is given beside "chosen" and "rejected"; drop one or the other.');
  }
  if (tag !== undefined && tag !== null && typeof tag !== 'boolean') {
    throw new RowError(rowNumber, 'kto_tag', `must be true or false, got ${kindOf(tag)}.`);
  }
  if (pair && typeof tag === 'boolean') {
    throw new RowError(rowNumber, 'kto_tag', 'is given beside "chosen" and "rejected"; drop one or the other.');
  }
  const completions: Record<string, unknown> = pair ? { chosen, rejected } : { completion: output };
  for (const [name, text] of Object.entries(completions)) {
    assertText(text, name === 'completion' ? 'output' : name, rowNumber);
  }
  return {
    instruction,
    input: optionalText(input, 'input', rowNumber),
    completions: completions as Record<string, string>,
    system: optionalText(system, 'system', rowNumber),
    history: checkHistory(history, rowNumber),
    label: tag ?? undefined,
    rest,
  };
}

function optionalText(value: unknown, field: string, rowNumber: number | undefined): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return value;
  throw new RowError(rowNumber, field, `must be a string, got ${kindOf(value)}.`);
}

function checkHistory(history: unknown, rowNumber: number | undefined): readonly (readonly [string, string])[] {
  if (history === undefined || history === null) return [];
  if (!Array.isArray(history)) throw new RowError(rowNumber, 'history', `must be a list, got ${kindOf(history)}.`);
  return history.map((turn: unknown, i) => {
    if (!Array.isArray(turn) || turn.length !== 2) {
      throw new RowError(rowNumber, `history[${i}]`, 'must be a pair of question and answer.');
    }
    assertText(turn[0], `history[${i}][0]`, rowNumber);
    assertText(turn[1], `history[${i}][1]`, rowNumber);
    return [turn[0], turn[1]] as const;
  });
}
