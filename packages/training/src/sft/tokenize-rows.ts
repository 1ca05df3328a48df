import { type ChatMessage, PosttrainError, showValue } from '@posttrain/interfaces';
import {
  assertTokenIds,
  type CausalLM,
  chatOptionsOf,
  NoChatTemplateError,
  type RowInputs,
  type RowMessage,
  rowMessages,
  tokenizeCompletion,
  withEndToken,
} from '@posttrain/lm';

/**
 * A dataset row in one of TRL's formats; further columns are ignored.
 *
 * - `{ text }`
 * - `{ prompt, completion }`, both texts or both lists of messages
 * - `{ messages }`
 * - `{ input_ids, labels? }`, tokenized already, without padding; -100 marks tokens that are not trained
 *
 * Rows with messages may have `tools` (a list, or its JSON) and `chat_template_kwargs`; an assistant's message of
 * `weight` 0 is not trained. What an adapter reads of a sequence is `adapterInputs`, whole numbers by name.
 */
export type SftRow = Readonly<Record<string, unknown>>;

/** Options of tokenizing the rows of `sft`. */
export interface TokenizeOptions {
  /** Train the completion only, in rows that have one. Default true. */
  readonly completionOnlyLoss?: boolean;
  /** Train the assistant's messages only; every row must have messages. Default false, as in TRL. */
  readonly assistantOnlyLoss?: boolean;
  /** Train the assistant's last turn only: its messages after the last of the user. Every row must have messages. Default false. */
  readonly lastTurnOnlyLoss?: boolean;
  /** Longer sequences are cut. Default: the model's context, at most 1024. */
  readonly maxLength?: number;
  /** Which end of a long sequence is kept. Default `keep_start`. */
  readonly truncationMode?: 'keep_start' | 'keep_end';
  /** Leave long sequences as they are, for packing that splits them. Default false. */
  readonly keepLong?: boolean;
}

/** A row as tokens. */
export interface TokenizedRow {
  readonly tokens: readonly number[];
  /** 1 for tokens the model is trained to predict, else 0; by position, so that a padding id may be trained. */
  readonly mask: readonly number[];
  /** What an adapter reads of it; of several sequences a list. */
  readonly adapterInputs?: RowInputs | readonly RowInputs[];
}

/** Tokenized rows, and how many were cut or left out. */
export interface TokenizedRows {
  readonly rows: readonly TokenizedRow[];
  /** Rows that were cut. */
  readonly truncated: number;
  /** Rows left out because cutting left no trained token. */
  readonly dropped: number;
  /** Rows whose prompt alone has other last tokens than the prompt with its completion. */
  readonly retokenizedPrompts: number;
}

/** A dataset row that cannot be trained on. */
export class SftRowError extends PosttrainError {
  constructor(row: number, problem: string, options?: ErrorOptions) {
    super('SFT_ROW', `row ${row}: ${problem}`, options);
  }
}

/** Whether any token that can be predicted (all but the first) is trained. */
const trainsAnything = ({ mask }: TokenizedRow): boolean => mask.includes(1, 1);

/**
 * Tokenizes rows, once, as TRL's SFTTrainer does: texts and text completions get the end token unless they end with it
 * and are tokenized with special tokens; messages go through the chat template; a completion begins where the tokens of
 * the prompt and of prompt + completion first differ.
 *
 * Other than TRL: the assistant's tokens are also known for templates without `{% generation %}` markers when they are
 * prefix-preserving.
 *
 * @throws SftRowError naming the row, also when it trains no token
 */
export function tokenizeRows(model: CausalLM, rows: readonly SftRow[], options: TokenizeOptions = {}): TokenizedRows {
  const { maxPositionEmbeddings } = model.config;
  const { maxLength = Math.min(1024, maxPositionEmbeddings), truncationMode = 'keep_start', keepLong } = options;
  if (!Number.isInteger(maxLength) || maxLength < 2 || maxLength > maxPositionEmbeddings) {
    throw new PosttrainError(
      'SFT_OPTIONS',
      `maxLength ${maxLength}: must be from 2 to the context's ${maxPositionEmbeddings}`,
    );
  }
  const kept: TokenizedRow[] = [];
  let [truncated, dropped, retokenizedPrompts] = [0, 0, 0];
  rows.forEach((row, index) => {
    let encoded: Encoded;
    try {
      encoded = encodeRow(model, row, options);
    } catch (cause) {
      throw new SftRowError(index, (cause as Error).message, { cause });
    }
    if (encoded.retokenizedPrompt) retokenizedPrompts++;
    if (!trainsAnything(encoded))
      throw new SftRowError(index, 'trains no token: it has no completion, or only one token.');
    const { adapterInputs } = row;
    if (adapterInputs !== undefined && (typeof adapterInputs !== 'object' || adapterInputs === null)) {
      throw new SftRowError(index, `adapterInputs is ${showValue(adapterInputs)}; it must be whole numbers by name.`);
    }
    if (adapterInputs && truncationMode === 'keep_end' && encoded.tokens.length > maxLength) {
      const problem = `has ${encoded.tokens.length} tokens, of which the last ${maxLength} would be kept`;
      throw new SftRowError(index, `${problem}, and adapterInputs, which may speak of places that are cut off.`);
    }
    if (keepLong) {
      if (adapterInputs)
        throw new SftRowError(index, 'has adapterInputs, and packing that splits rows has no place for them.');
      kept.push({ tokens: encoded.tokens, mask: encoded.mask });
      return;
    }
    if (encoded.tokens.length > maxLength) truncated++;
    const cut = <T>(values: readonly T[]) =>
      truncationMode === 'keep_start' ? values.slice(0, maxLength) : values.slice(-maxLength);
    const inputs = adapterInputs && { adapterInputs: adapterInputs as RowInputs };
    const short = { tokens: cut(encoded.tokens), mask: cut(encoded.mask), ...inputs };
    if (trainsAnything(short)) kept.push(short);
    else dropped++;
  });
  return { rows: kept, truncated, dropped, retokenizedPrompts };
}

interface Encoded extends TokenizedRow {
  readonly retokenizedPrompt?: boolean;
}

function encodeRow(model: CausalLM, row: SftRow, options: TokenizeOptions): Encoded {
  if ('input_ids' in row) return encodedAlready(row, model.config.vocabSize, options);
  if ('prompt' in row || 'completion' in row) return encodePromptCompletion(model, row, options);
  if ('messages' in row) {
    if (!model.chatTemplate) throw new NoChatTemplateError(model.name);
    const messages = messagesOf(row, 'messages');
    const { tokenIds, assistantTurns } = model.chatTemplate.renderChat(rowMessages(messages), {
      ...chatOptionsOf(row),
      assistantMask: asksForTurns(messages, options),
    });
    refuseOpenEnd(model, messages, tokenIds);
    return { tokens: tokenIds, mask: tokenIds.map((_, t) => weightOf(t, messages, assistantTurns, options)) };
  }
  const { text } = row;
  if (text !== undefined) refuseAssistantOnly('a text', options);
  if (text !== undefined && typeof text !== 'string') {
    throw new PosttrainError('SFT_ROW', `"text" must be a text, not ${showValue(text)}`);
  }
  if (text !== undefined) {
    const tokens = model.tokenizer.encode(withEndToken(model, text));
    return { tokens, mask: tokens.map(() => 1) };
  }
  throw new PosttrainError(
    'SFT_ROW',
    `has none of text, messages, prompt and completion, input_ids; its columns are ${Object.keys(row).join(', ') || 'none'}${adviceFor(row)}`,
  );
}

/** Rows of other formats, by the columns that they have, with what makes rows for `sft` of them. */
const OTHER_FORMATS: readonly (readonly [columns: readonly string[], advice: string])[] = [
  [['conversations'], 'these are ShareGPT rows: map them with fromShareGpt of @posttrain/data'],
  [['instruction', 'output'], 'these are Alpaca rows: map them with fromAlpaca or fromAlpacaToChat of @posttrain/data'],
  [['chosen', 'rejected'], 'these are preferences: dpo of @posttrain/rl trains on them'],
  [['question', 'answer'], 'map them to { prompt: question, completion: answer }, or to messages'],
  [['input', 'output'], 'map them to { prompt: input, completion: output }, or to messages'],
];

function adviceFor(row: SftRow): string {
  const found = OTHER_FORMATS.find(([columns]) => columns.every((column) => column in row));
  return found ? `; ${found[1]}` : '';
}

/** As in TRL: which tokens of a text are the assistant's cannot be known. */
function refuseAssistantOnly(what: string, { assistantOnlyLoss, lastTurnOnlyLoss }: TokenizeOptions): void {
  if (!assistantOnlyLoss && !lastTurnOnlyLoss) return;
  const option = lastTurnOnlyLoss ? 'lastTurnOnlyLoss' : 'assistantOnlyLoss';
  const problem = `is ${what}, and ${option} is for messages: give rows with messages, or leave the option out`;
  throw new PosttrainError('SFT_ROW', `${problem} (completionOnlyLoss trains only the completions of texts)`);
}

function encodePromptCompletion(model: CausalLM, row: SftRow, options: TokenizeOptions): Encoded {
  const { completionOnlyLoss = true } = options;
  if (isEmpty(row.completion)) {
    throw new PosttrainError(
      'SFT_ROW',
      'its completion is empty, which would teach the model to say nothing; drop the row',
    );
  }
  const isText = typeof row.prompt === 'string' && typeof row.completion === 'string';
  if (isText) refuseAssistantOnly('a prompt and a completion of text', options);
  const part = (column: 'prompt' | 'completion') => (isText ? (row[column] as string) : messagesOf(row, column));
  const [prompt, completion] = [part('prompt'), part('completion')];
  const messages = isText ? [] : ([...prompt, ...completion] as RowMessage[]);
  const { tokens, start, assistantTurns, retokenizedPrompt } = tokenizeCompletion(model, prompt, completion, {
    ...chatOptionsOf(row),
    assistantTurns: !isText && asksForTurns(messages, options),
  });
  refuseOpenEnd(model, messages, tokens);
  const mask = tokens.map((_, t) => {
    const isCompletion = !completionOnlyLoss || t >= start;
    return isCompletion ? weightOf(t, messages, assistantTurns, options) : 0;
  });
  return { tokens, mask, retokenizedPrompt };
}

/** Whether the mask depends on which message a token belongs to. */
const asksForTurns = (
  messages: readonly RowMessage[],
  { assistantOnlyLoss = false, lastTurnOnlyLoss = false }: TokenizeOptions,
): boolean => assistantOnlyLoss || lastTurnOnlyLoss || messages.some(({ weight }) => weight === 0);

/** Whether token `t` of a conversation is trained: with `assistantOnlyLoss` the assistant's, and none of weight 0. */
function weightOf(
  t: number,
  messages: readonly RowMessage[],
  assistantTurns: readonly number[] | undefined,
  { assistantOnlyLoss = false, lastTurnOnlyLoss = false }: TokenizeOptions,
): 0 | 1 {
  const turn = assistantTurns?.[t] ?? -1;
  if (turn < 0) return (assistantOnlyLoss || lastTurnOnlyLoss) && assistantTurns ? 0 : 1;
  if (lastTurnOnlyLoss && turn < messages.findLastIndex(({ role }) => role === 'user')) return 0;
  return messages[turn]!.weight === 0 ? 0 : 1;
}

/** A template with nothing behind an answer: the model would be taught to answer, and never to stop. */
function refuseOpenEnd(model: CausalLM, messages: readonly RowMessage[], tokens: readonly number[]): void {
  const last = messages.at(-1);
  const { tokenizer, endTokens } = model;
  if (last?.role !== 'assistant' || last.weight === 0 || typeof last.content !== 'string') return;
  const words = last.content.trim();
  const isEnd = (id: number) => tokenizer.specialIds.has(id) || endTokens.has(id);
  if (words === '' || tokens.slice(-2).some(isEnd)) return;
  // An end may be of ordinary tokens, too ("</turn>"): as long as it is not the answer that comes last.
  if (
    !tokenizer
      .decode([...tokens])
      .trimEnd()
      .endsWith(words)
  )
    return;
  const eos = tokenizer.specialTokens.eos_token;
  const remedy = eos === undefined ? 'an end token' : `{{ eos_token }} (${eos})`;
  throw new PosttrainError(
    'SFT_ROW',
    `the chat template puts nothing behind the assistant's last message, no end token: a model would not learn to stop. Put ${remedy} behind the content of the assistant's messages in the template`,
  );
}

/** Columns of tokenized rows in TRL that say which tokens are trained or belong together: here labels say the first. */
const OTHER_MASKS = ['completion_mask', 'assistant_masks', 'seq_lengths', 'position_ids'];

/** Padding is none of the row's tokens, and would be trained. */
function refuseOtherMasks({ input_ids: ids, attention_mask: mask, ...row }: SftRow): void {
  const other = OTHER_MASKS.find((column) => row[column] !== undefined);
  if (other !== undefined) {
    const problem = `has the column "${other}", which is not read: labels with -100 say what is not trained, and the option packing packs`;
    throw new PosttrainError('SFT_ROW', `${problem}; leave the column out`);
  }
  if (mask === undefined || mask === null) return;
  if (!Array.isArray(mask) || mask.length !== (ids as unknown[]).length) {
    throw new PosttrainError('SFT_ROW', 'attention_mask must be a list as long as input_ids, or left out');
  }
  const at = mask.findIndex((value) => value !== 1);
  if (at < 0) return;
  const problem = `attention_mask[${at}] is ${showValue(mask[at])}: rows are without padding here`;
  throw new PosttrainError('SFT_ROW', `${problem}; leave out the tokens whose mask is 0 (tokenize without padding)`);
}

function encodedAlready(row: SftRow, vocabSize: number, options: TokenizeOptions): Encoded {
  if (row.labels === undefined) refuseAssistantOnly('tokenized, without labels', options);
  const { input_ids: ids, labels = ids } = row;
  const isIds = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isInteger);
  if (!isIds(ids) || !isIds(labels) || labels.length !== ids.length) {
    throw new PosttrainError('SFT_ROW', 'input_ids and labels must be lists of integers of one length');
  }
  refuseOtherMasks(row);
  try {
    assertTokenIds(vocabSize, ids, 'input_ids');
  } catch (cause) {
    throw new PosttrainError('SFT_ROW', `${(cause as Error).message} (-100 belongs into labels)`, { cause });
  }
  const other = labels.findIndex((label, t) => label !== -100 && label !== ids[t]);
  if (other >= 0) {
    throw new PosttrainError(
      'SFT_ROW',
      `labels[${other}] is ${labels[other]} and input_ids[${other}] is ${ids[other]}; a label is its token, or -100 where nothing is trained`,
    );
  }
  return { tokens: ids, mask: labels.map((label) => (label === -100 ? 0 : 1)) };
}

/** No text and no message, or messages that say nothing (a tool call says something). */
function isEmpty(completion: unknown): boolean {
  if (typeof completion === 'string') return completion.trim() === '';
  const silent = ({ content, tool_calls: calls }: ChatMessage) => !calls?.length && String(content ?? '').trim() === '';
  return Array.isArray(completion) && (completion as ChatMessage[]).every(silent);
}

function messagesOf(row: SftRow, column: string): readonly RowMessage[] {
  const value = row[column];
  if (Array.isArray(value) && value.every((message) => isRecord(message) && typeof message.role === 'string')) {
    const messages = value as RowMessage[];
    const wrong = messages.findIndex(
      ({ weight = null, role }) => weight !== null && !(role === 'assistant' && (weight === 0 || weight === 1)),
    );
    if (wrong < 0) return messages;
    throw new PosttrainError(
      'SFT_ROW',
      `${column}[${wrong}].weight is ${messages[wrong]!.weight}; it is 0 or 1, and of the assistant's messages only`,
    );
  }
  throw new PosttrainError(
    'SFT_ROW',
    `"${column}" must be a list of { role, content }${column === 'messages' ? '' : ', or prompt and completion both texts'}, not ${showValue(value)}`,
  );
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
