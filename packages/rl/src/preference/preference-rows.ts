import { extractPreferencePrompt, PosttrainError, type Prompt, showValue } from '@posttrain/interfaces';
import {
  type CompletionTokens,
  chatOptionsOf,
  type RowMessage,
  type TextModel,
  tokenizeCompletion,
} from '@posttrain/lm';
import type { TokenizedPair } from './preference-loss.js';

/**
 * A preference: `prompt`, `chosen` and `rejected` all as text or all as messages; or without a prompt, which is then what
 * `chosen` and `rejected` begin with.
 */
export interface PreferenceRow {
  readonly prompt?: Prompt;
  readonly chosen: Prompt;
  readonly rejected: Prompt;
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
  /** Further columns, of which a loss may take numbers. */
  readonly [column: string]: unknown;
}

/** A preference row that cannot be trained on. */
export class PreferenceRowError extends PosttrainError {
  constructor(row: number, message: string, options?: ErrorOptions) {
    super('PREFERENCE_ROW', `preference row ${row}: ${message}`, options);
  }
}

const isText = (value: Prompt): value is string => typeof value === 'string';

/** Whether a pair is tokens already. */
export const isTokenizedPair = (row: PreferenceRow | TokenizedPair): row is TokenizedPair => 'promptTokens' in row;

/** The numbers that a loss takes from columns of a row. @throws PreferenceRowError for one that is no number and no boolean */
export function columnsOf(row: object, columns: readonly string[], index: number): Readonly<Record<string, number>> {
  const numbers = columns.map((name) => {
    const value = (row as Readonly<Record<string, unknown>>)[name];
    if (typeof value === 'boolean' || Number.isFinite(value)) return [name, Number(value)] as const;
    throw new PreferenceRowError(index, `${name} must be a number, true or false, and is ${showValue(value)}`);
  });
  return Object.fromEntries(numbers);
}

/** The row with its prompt made explicit: the longest common beginning, as TRL's `extract_prompt` finds it. */
export function withExplicitPrompt(
  row: PreferenceRow,
  index: number,
): Required<Pick<PreferenceRow, 'prompt' | 'chosen' | 'rejected'>> {
  const { prompt, chosen, rejected } = row;
  for (const [name, value] of Object.entries({ chosen, rejected })) {
    if (isText(value) || Array.isArray(value)) continue;
    const problem = `${name} must be a text or a list of messages, and is ${showValue(value)}`;
    throw new PreferenceRowError(index, `${problem}; its columns are ${Object.keys(row).join(', ') || 'none'}`);
  }
  if (isText(chosen) !== isText(rejected) || (prompt !== undefined && isText(prompt) !== isText(chosen))) {
    throw new PreferenceRowError(index, 'prompt, chosen and rejected must all be texts or all be lists of messages');
  }
  if (prompt !== undefined) return { prompt, chosen, rejected };
  const explicit = extractPreferencePrompt(chosen, rejected);
  if (typeof explicit === 'string') {
    throw new PreferenceRowError(
      index,
      `has no prompt, and ${explicit} is the start of the other, so nothing is preferred`,
    );
  }
  if (explicit.prompt.length > 0) return explicit;
  throw new PreferenceRowError(index, 'has no prompt, and chosen and rejected share no beginning');
}

/**
 * Completions that are tokens already, cut at `maxLength` tokens, prompt included; undefined when that leaves them no token.
 *
 * @throws PreferenceRowError for a prompt or a completion of no tokens
 */
export function cutTokens(
  promptTokens: readonly number[],
  completions: readonly (readonly number[])[],
  index: number,
  maxLength: number,
): (readonly number[])[] | undefined {
  const isTokens = (tokens: unknown) => Array.isArray(tokens) && tokens.length > 0;
  if (!isTokens(promptTokens))
    throw new PreferenceRowError(index, 'its promptTokens must be a list of at least one token');
  if (!completions.every(isTokens)) throw new PreferenceRowError(index, 'one of its completions has no tokens');
  const room = maxLength - promptTokens.length;
  return room > 0 ? completions.map((tokens) => tokens.slice(0, room)) : undefined;
}

/**
 * The tokens of a pair, as TRL's DPOTrainer makes them (see `tokenizeCompletion`): the completions begin where the prompt's
 * own tokens end or first differ from one of them. Both are cut at `maxLength` tokens, prompt included; undefined when that
 * leaves one of them no token. Of a pair that is tokens already, as sampled ones are, these are taken as they are.
 *
 * @throws PreferenceRowError naming the row
 */
export function tokenizePair(
  model: TextModel,
  row: PreferenceRow | TokenizedPair,
  index: number,
  maxLength: number,
): TokenizedPair | undefined {
  if (isTokenizedPair(row)) {
    const { promptTokens, chosenTokens, rejectedTokens, annotations } = row;
    const cut = cutTokens(promptTokens, [chosenTokens, rejectedTokens], index, maxLength);
    const tokens = cut && { promptTokens, chosenTokens: cut[0]!, rejectedTokens: cut[1]! };
    return tokens && annotations ? { ...tokens, annotations } : tokens;
  }
  const { prompt, chosen, rejected } = withExplicitPrompt(row, index);
  let [a, b]: CompletionTokens[] = [];
  for (const [name, completion] of Object.entries({ chosen, rejected })) {
    const weights = isText(completion) ? [] : completion.map((message: RowMessage | null) => message?.weight ?? 1);
    const skipped = weights.findIndex((weight) => weight !== 1);
    if (skipped >= 0)
      throw new PreferenceRowError(
        index,
        `${name}[${skipped}].weight is ${weights[skipped]}, but a preference is between whole outputs`,
      );
  }
  try {
    const chat = chatOptionsOf(row);
    [a, b] = [chosen, rejected].map((completion) => tokenizeCompletion(model, prompt, completion, chat));
  } catch (cause) {
    throw new PreferenceRowError(index, (cause as Error).message, { cause });
  }
  const start = Math.min(a!.start, b!.start);
  if (start === 0) throw new PreferenceRowError(index, 'its prompt has no tokens that the completions continue');
  if (a!.tokens.length <= start || b!.tokens.length <= start) {
    throw new PreferenceRowError(index, 'its chosen or rejected completion has no tokens');
  }
  if (start >= maxLength) return undefined;
  return {
    promptTokens: a!.tokens.slice(0, start),
    chosenTokens: a!.tokens.slice(start, maxLength),
    rejectedTokens: b!.tokens.slice(start, maxLength),
  };
}
