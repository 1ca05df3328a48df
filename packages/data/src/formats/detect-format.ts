import { RowError } from '../errors.js';
import { type Row, requireRow } from '../rows.js';
import { FORMAT_COLUMNS, type RowFormat } from './row-formats.js';
import { isConversational } from './trl-data-utils.js';

/** The format that rows have. */
export interface DetectedFormat {
  readonly format: RowFormat;
  /** Whether the texts are lists of messages. */
  readonly conversational: boolean;
}

/** Deciding columns, sorted, to format. `label` and `labels` alone decide nothing, so other data may have them. */
const FORMATS: Readonly<Record<string, RowFormat>> = {
  text: 'language-modeling',
  messages: 'language-modeling',
  prompt: 'prompt-only',
  'completion prompt': 'prompt-completion',
  'chosen prompt rejected': 'preference',
  'chosen rejected': 'implicit-preference',
  'completion label prompt': 'unpaired-preference',
  'completions labels prompt': 'stepwise-supervision',
};

/**
 * The TRL format of a row, from its columns. Columns TRL does not know are ignored; columns of two formats at once, or
 * of none, are a `RowError` that says what to rename or drop.
 */
export function detectFormat(row: Row, rowNumber?: number): DetectedFormat {
  requireRow(row, rowNumber);
  const present = FORMAT_COLUMNS.filter((column) => row[column] !== undefined && row[column] !== null).sort();
  const format = FORMATS[present.join(' ')] ?? FORMATS[present.filter((name) => !name.startsWith('label')).join(' ')];
  if (format !== undefined) return { format, conversational: isConversational(row) };
  const field = present[0] ?? 'prompt';
  if (Array.isArray(row.conversations)) {
    throw new RowError(rowNumber, 'conversations', 'is ShareGPT data; convert it with fromShareGpt.');
  }
  if (row.instruction !== undefined && row.output !== undefined) {
    throw new RowError(rowNumber, 'instruction', 'is Alpaca data; convert it with fromAlpaca or fromAlpacaToChat.');
  }
  const known = Object.keys(FORMATS).map((columns) => `{${columns.replaceAll(' ', ', ')}}`);
  throw new RowError(
    rowNumber,
    field,
    present.length === 0
      ? `the row has none of the columns of a known format: ${Object.keys(row).join(', ')}. Formats: ${known.join(' ')}.`
      : `the columns {${present.join(', ')}} are not one format. Formats: ${known.join(' ')}. Drop or rename the others.`,
  );
}
