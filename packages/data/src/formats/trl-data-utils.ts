import { extractPreferencePrompt } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { eachRow, isPlainObject, kindOf, type Row, type RowSource, requireRow } from '../rows.js';

/** The functions of `trl/data_utils.py` that work on rows, by TRL's names; checked against TRL in `trl-data-utils.test.ts`. */

/** Whether the row's texts are lists of messages with roles. As in TRL, one text column decides. */
export function isConversational(row: Row): boolean {
  requireRow(row, undefined);
  return ['prompt', 'chosen', 'rejected', 'completion', 'messages'].some((column) => {
    const first: unknown = Array.isArray(row[column]) ? row[column][0] : undefined;
    return isPlainObject(first) && 'role' in first;
  });
}

/** Whether the row is a ShareGPT conversation: `conversations` with `from` and `value`. */
export function isConversationalFromValue(row: Row): boolean {
  requireRow(row, undefined);
  const first: unknown = Array.isArray(row.conversations) ? row.conversations[0] : undefined;
  return isPlainObject(first) && 'from' in first && 'value' in first;
}

/**
 * Renames `from`/`value` to `role`/`content` in every list of messages, and `conversations` to `messages`. As in TRL the
 * role names stay as they are; `fromShareGpt` also maps `human` and `gpt`.
 */
export function maybeConvertToChatml(row: Row): Row {
  requireRow(row, undefined);
  const converted: Record<string, unknown> = { ...row };
  for (const column of ['prompt', 'completion', 'chosen', 'rejected', 'messages', 'conversations']) {
    const messages = row[column];
    if (!Array.isArray(messages)) continue;
    converted[column] = messages.map((message: unknown) => {
      if (!isPlainObject(message)) return message;
      const { from, value, ...rest } = message;
      return { ...rest, ...('from' in message && { role: from }), ...('value' in message && { content: value }) };
    });
  }
  if ('conversations' in converted) {
    converted.messages = converted.conversations;
    delete converted.conversations;
  }
  return converted;
}

/**
 * Makes the prompt of an implicit-preference row explicit: it is the longest common prefix of `chosen` and `rejected`,
 * by messages or by code points; a space before the difference goes to the completions.
 *
 * Unlike TRL, which then returns an arbitrary cut, it throws a `RowError` when one text is the start of the other, for
 * nothing would be left to prefer; and a difference at the first character never looks at the last one.
 */
export function extractPrompt(row: Row, rowNumber?: number): Row {
  requireRow(row, rowNumber);
  const { chosen, rejected } = row;
  if (Array.isArray(chosen) && Array.isArray(rejected)) return withPrompt(row, chosen, rejected, rowNumber);
  if (typeof chosen === 'string' && typeof rejected === 'string') return withPrompt(row, chosen, rejected, rowNumber);
  const kinds = `got ${kindOf(chosen)} and ${kindOf(rejected)}`;
  throw new RowError(rowNumber, 'chosen', `"chosen" and "rejected" must both be strings or both messages, ${kinds}.`);
}

function withPrompt<T extends string | readonly unknown[]>(
  row: Row,
  chosen: T,
  rejected: T,
  rowNumber: number | undefined,
): Row {
  const explicit = extractPreferencePrompt(chosen, rejected);
  if (typeof explicit === 'object') return { ...row, ...explicit };
  const problem = 'is the start of the other text (or the same), so no completion would be left.';
  throw new RowError(rowNumber, explicit, problem);
}

/**
 * `extractPrompt` for preference rows without a prompt; other rows as they are. As in TRL, a string prompt beside
 * conversational `chosen` does not count as one, since such datasets repeat the prompt inside the conversations.
 */
export function maybeExtractPrompt(row: Row, rowNumber?: number): Row {
  requireRow(row, rowNumber);
  if (!('chosen' in row) || !('rejected' in row)) return row;
  const explicit =
    'prompt' in row && isConversational({ chosen: row.chosen }) === isConversational({ prompt: row.prompt });
  return explicit ? row : extractPrompt(row, rowNumber);
}

/**
 * Two rows for each preference row: its chosen completion with label true, then its rejected one with label false.
 * Other columns are copied to both. (TRL yields the same rows, but all chosen ones of a batch first.)
 */
export async function* unpairPreferenceDataset(rows: RowSource<Row>): AsyncGenerator<Row> {
  let rowNumber = 0;
  for await (const { chosen, rejected, ...rest } of eachRow('unpairPreferenceDataset', rows)) {
    rowNumber++;
    if (chosen === undefined || chosen === null) throw new RowError(rowNumber, 'chosen', 'is missing.');
    if (rejected === undefined || rejected === null) throw new RowError(rowNumber, 'rejected', 'is missing.');
    yield { ...rest, completion: chosen, label: true };
    yield { ...rest, completion: rejected, label: false };
  }
}

/** `unpairPreferenceDataset` for rows with `chosen` and `rejected`; other rows as they are. */
export async function* maybeUnpairPreferenceDataset(rows: RowSource<Row>): AsyncGenerator<Row> {
  for await (const row of eachRow('maybeUnpairPreferenceDataset', rows)) {
    // A column that other rows have is null here, in tables.
    if ((row.chosen ?? row.rejected ?? undefined) !== undefined && 'chosen' in row && 'rejected' in row)
      yield* unpairPreferenceDataset([row]);
    else yield row;
  }
}
