import { isPlainObject, type Row, requireRow } from '../rows.js';
import { fromAlpacaToChat } from './alpaca.js';
import { detectFormat } from './detect-format.js';
import { fromOpenAi } from './openai.js';
import { fromRanking, fromUltraFeedback } from './ratings.js';
import { fromShareGpt } from './sharegpt.js';
import { fromSwift } from './swift.js';

/** Whose format a row has. */
export type RowLayout =
  | 'trl'
  | 'openai'
  | 'sharegpt'
  | 'alpaca'
  | 'ms-swift'
  | 'ratings'
  | 'rankings'
  | 'ultrafeedback';

const has = (row: Row, ...columns: readonly string[]): boolean =>
  columns.every((column) => (row[column] ?? undefined) !== undefined);

/**
 * Whose format a row has, by its columns: TRL's, OpenAI's (tool calls as texts, parts, preferences with `input`), ShareGPT and Alpaca of LLaMA-Factory, ms-swift's,
 * UltraFeedback's, or one of several answers with `ratings` or `ranks`. @throws RowError for none of them
 */
export function detectLayout(row: Row, rowNumber?: number): RowLayout {
  requireRow(row, rowNumber);
  if (has(row, 'completions', 'ratings')) return 'ratings';
  if (has(row, 'completions', 'ranks')) return 'rankings';
  if (has(row, 'instruction', 'completions')) return 'ultrafeedback';
  if (has(row, 'rejected_response') || has(row, 'rejected_messages') || has(row, 'conversation')) return 'ms-swift';
  // Beside messages or a prompt it is a column of somebody's own.
  if (has(row, 'query') && !has(row, 'messages') && !has(row, 'prompt')) return 'ms-swift';
  if (has(row, 'conversations')) {
    const first: unknown = Array.isArray(row.conversations) ? row.conversations[0] : undefined;
    return isPlainObject(first) && 'from' in first ? 'sharegpt' : 'ms-swift';
  }
  if (has(row, 'instruction') && (has(row, 'output') || has(row, 'chosen'))) return 'alpaca';
  if (has(row, 'input', 'preferred_output')) return 'openai';
  if (has(row, 'messages')) {
    if (has(row, 'label')) return 'ms-swift';
    if (isOfOpenAi(row.messages)) return 'openai';
  }
  detectFormat(row, rowNumber);
  return 'trl';
}

/** Messages as no chat template takes them. */
const isOfOpenAi = (messages: unknown): boolean =>
  Array.isArray(messages) &&
  messages.some(
    (message) =>
      isPlainObject(message) &&
      (typeof message.content !== 'string' ||
        ['developer', 'function'].includes(String(message.role)) ||
        (Array.isArray(message.tool_calls) &&
          message.tool_calls.some(
            (call) =>
              isPlainObject(call) && isPlainObject(call.function) && typeof call.function.arguments === 'string',
          ))),
  );

const CONVERTERS: Readonly<Record<RowLayout, (row: Row, rowNumber?: number) => Row>> = {
  trl: (row) => row,
  openai: fromOpenAi,
  sharegpt: fromShareGpt,
  alpaca: fromAlpacaToChat,
  'ms-swift': fromSwift,
  ratings: (row) => row,
  rankings: fromRanking,
  ultrafeedback: fromUltraFeedback,
};

/** A row of any known format as TRL's; of several answers, with `completions` and `ratings` (see `ratedPairs`). For `map`. @throws RowError */
export function toTrl(row: Row, rowNumber?: number): Row {
  return CONVERTERS[detectLayout(row, rowNumber)](row, rowNumber);
}
