import { assertArgument, sameJson } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { kindOf, type Row, requireRow } from '../rows.js';
import type { DataStep } from '../step.js';
import { type MapOptions, map } from '../steps/map.js';
import { assertMessages, assertText } from './messages.js';
import type { RowFormat, RowFormats, RowMessage } from './row-formats.js';

/**
 * Throws a `RowError`, with row number and field, unless the row is a proper row of the format: every text present,
 * of the right kind and not empty, standard and conversational not mixed, a conversational prompt that a completion
 * can follow, an assistant's turn in a conversational completion, and `chosen` different from `rejected`.
 */
export function validateRow<F extends RowFormat>(
  row: object,
  format: F,
  rowNumber?: number,
): asserts row is RowFormats[F] {
  const check = Object.hasOwn(CHECKS, format) ? CHECKS[format] : undefined;
  if (check === undefined) throw new RowError(rowNumber, 'format', `${JSON.stringify(format)} is not a row format.`);
  requireRow(row, rowNumber);
  check(row, rowNumber);
}

/** A pipeline step that validates every row. With `onRowError: 'drop'` bad rows are dropped and counted by problem. */
export function validate<F extends RowFormat>(format: F, options: MapOptions = {}): DataStep<object, RowFormats[F]> {
  const isFormat = Object.hasOwn(CHECKS, format);
  assertArgument('validate', 'format', format, isFormat, `one of ${Object.keys(CHECKS).join(', ')}`);
  return map(
    `validate ${format}`,
    (row: object, rowNumber) => {
      validateRow(row, format, rowNumber);
      return row;
    },
    options,
  );
}

type Check = (row: Row, rowNumber: number | undefined) => void;

const CHECKS: Readonly<Record<RowFormat, Check>> = {
  'language-modeling'(row, rowNumber) {
    // A column that other rows have is null here, in tables.
    if ((row.messages ?? undefined) === undefined) return assertText(row.text, 'text', rowNumber);
    if ((row.text ?? undefined) !== undefined)
      throw new RowError(rowNumber, 'text', 'is beside "messages"; drop one of the two.');
    assertMessages(row.messages, 'messages', rowNumber);
    assertAssistant(row.messages, 'messages', rowNumber);
  },
  'prompt-only'(row, rowNumber) {
    assertPrompt(row.prompt, rowNumber);
  },
  'prompt-completion'(row, rowNumber) {
    assertPrompt(row.prompt, rowNumber);
    assertCompletion(row, 'completion', 'prompt', rowNumber);
  },
  preference(row, rowNumber) {
    assertPrompt(row.prompt, rowNumber);
    assertCompletion(row, 'chosen', 'prompt', rowNumber);
    assertCompletion(row, 'rejected', 'prompt', rowNumber);
    assertDifferent(row, rowNumber);
  },
  'implicit-preference'(row, rowNumber) {
    assertCompletion(row, 'chosen', 'rejected', rowNumber);
    assertCompletion(row, 'rejected', 'chosen', rowNumber);
    assertDifferent(row, rowNumber);
  },
  'unpaired-preference'(row, rowNumber) {
    CHECKS['prompt-completion'](row, rowNumber);
    assertBoolean(row.label, 'label', rowNumber);
  },
  'stepwise-supervision'(row, rowNumber) {
    assertText(row.prompt, 'prompt', rowNumber);
    const steps = assertList(row.completions, 'completions', rowNumber);
    const labels = assertList(row.labels, 'labels', rowNumber);
    for (const [i, step] of steps.entries()) assertText(step, `completions[${i}]`, rowNumber);
    for (const [i, label] of labels.entries()) assertBoolean(label, `labels[${i}]`, rowNumber);
    if (steps.length !== labels.length) {
      throw new RowError(
        rowNumber,
        'labels',
        `must have one label per completion: ${labels.length} for ${steps.length}.`,
      );
    }
  },
};

function assertPrompt(prompt: unknown, rowNumber: number | undefined): void {
  if (!Array.isArray(prompt)) {
    assertText(prompt, 'prompt', rowNumber);
    return;
  }
  assertMessages(prompt, 'prompt', rowNumber);
  const last = prompt.at(-1)?.role ?? '';
  if (['user', 'tool', 'assistant'].includes(last)) return;
  const rule = 'must be "user" or "tool" (or "assistant", to be continued)';
  throw new RowError(rowNumber, `prompt[${prompt.length - 1}].role`, `${rule}, got "${last}".`);
}

function assertCompletion(row: Row, field: string, beside: string, rowNumber: number | undefined): void {
  const text = row[field];
  if (Array.isArray(text) !== Array.isArray(row[beside])) {
    const kind = Array.isArray(text) ? 'a list of messages' : 'a string';
    throw new RowError(rowNumber, field, `is ${kind}, but "${beside}" is not; use the same kind for both.`);
  }
  if (!Array.isArray(text)) {
    assertText(text, field, rowNumber);
    return;
  }
  assertMessages(text, field, rowNumber);
  assertAssistant(text, field, rowNumber);
}

/** Somewhere an assistant says or calls something: otherwise there is nothing to train on. */
function assertAssistant(messages: readonly RowMessage[], field: string, rowNumber: number | undefined): void {
  const turns = messages.filter((message) => message.role === 'assistant');
  const speaking = turns.filter((turn) => turn.content !== '' || (turn.tool_calls?.length ?? 0) > 0);
  if (speaking.some((turn) => turn.weight !== 0)) return;
  if (speaking.length > 0)
    throw new RowError(rowNumber, field, 'every assistant message has weight 0: nothing is trained.');
  throw new RowError(rowNumber, field, turns.length === 0 ? 'has no assistant message.' : 'is empty.');
}

function assertDifferent(row: Row, rowNumber: number | undefined): void {
  if (sameJson(row.chosen, row.rejected)) {
    throw new RowError(rowNumber, 'rejected', 'is the same as "chosen"; a tie is no preference.');
  }
}

function assertBoolean(value: unknown, field: string, rowNumber: number | undefined): void {
  if (typeof value !== 'boolean') throw new RowError(rowNumber, field, `must be true or false, got ${kindOf(value)}.`);
}

function assertList(value: unknown, field: string, rowNumber: number | undefined): readonly unknown[] {
  if (Array.isArray(value) && value.length > 0) return value;
  const found = Array.isArray(value) ? 'an empty one' : kindOf(value);
  throw new RowError(rowNumber, field, `must be a list with at least one element, got ${found}.`);
}
