import type { Prompt } from '@posttrain/interfaces';
import { type CompletionTokens, chatOptionsOf, type TextModel, tokenizeCompletion } from '@posttrain/lm';
import { rankingScores } from '@posttrain/training';
import { cutTokens, PreferenceRowError } from './preference-rows.js';
import type { TokenizedRanking } from './ranked-loss.js';

/**
 * A ranking: two or more completions of a prompt, all texts or all messages, with `ranks` (1 is the best; equal ones are ties) or
 * `scores` (higher is better). Neither TRL nor others have a format for rankings; this one is ours.
 */
export interface RankedRow {
  readonly prompt: Prompt;
  readonly completions: readonly Prompt[];
  readonly ranks?: readonly number[];
  readonly scores?: readonly number[];
  /** JSON schemas of the functions that the assistant may call, or their JSON text. */
  readonly tools?: unknown;
  /** Variables of the chat template. */
  readonly chat_template_kwargs?: unknown;
}

/**
 * The tokens of a ranking (see `tokenizeCompletion`): its completions begin where the prompt's own tokens end or first differ from one
 * of them. Each is cut at `maxLength` tokens, prompt included; undefined when that leaves them no token. Of a ranking that
 * is tokens already, they are taken as they are.
 *
 * @throws PreferenceRowError naming the row
 */
export function tokenizeRanking(
  model: TextModel,
  row: RankedRow | TokenizedRanking,
  index: number,
  maxLength: number,
): TokenizedRanking | undefined {
  const scores = rankingScores(row, (problem) => new PreferenceRowError(index, problem));
  if ('promptTokens' in row) {
    const { promptTokens, annotations } = row;
    const completions = cutTokens(promptTokens, row.completions, index, maxLength);
    const tokens = completions && { promptTokens, completions, scores };
    return tokens && annotations ? { ...tokens, annotations } : tokens;
  }
  const { prompt, completions } = row;
  if (completions.some((completion) => typeof completion !== typeof prompt)) {
    throw new PreferenceRowError(index, 'prompt and completions must all be texts or all be lists of messages');
  }
  let tokenized: CompletionTokens[];
  try {
    const chat = chatOptionsOf(row);
    tokenized = completions.map((completion) => tokenizeCompletion(model, prompt, completion, chat));
  } catch (cause) {
    throw new PreferenceRowError(index, (cause as Error).message, { cause });
  }
  const start = Math.min(...tokenized.map((completion) => completion.start));
  if (start === 0) throw new PreferenceRowError(index, 'its prompt has no tokens that the completions continue');
  const empty = tokenized.findIndex(({ tokens }) => tokens.length <= start);
  if (empty >= 0) throw new PreferenceRowError(index, `completions[${empty}] has no tokens`);
  if (start >= maxLength) return undefined;
  return {
    promptTokens: tokenized[0]!.tokens.slice(0, start),
    completions: tokenized.map(({ tokens }) => tokens.slice(start, maxLength)),
    scores,
  };
}
