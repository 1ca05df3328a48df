import type { Completion } from '@posttrain/interfaces';
import type { AnswerExtractor } from '@posttrain/interfaces/answers';
import { ContractError } from './errors.js';

/** The `n` completions of the only request; throws when the generator did not keep its contract. */
export function checkedCompletions(name: string, answer: Completion[][], n: number): Completion[] {
  const completions = Array.isArray(answer) && answer.length === 1 ? answer[0] : undefined;
  if (!Array.isArray(completions) || completions.length !== n) {
    const what = Array.isArray(completions) ? `${completions.length} completions` : 'no list of completions';
    throw new ContractError(`generator "${name}" returned ${what} for one request with n = ${n}.`);
  }
  for (const { usage } of completions) {
    for (const tokens of [usage.promptTokens, usage.completionTokens]) {
      if (!Number.isSafeInteger(tokens) || tokens < 0) {
        throw new ContractError(`generator "${name}" reported a usage of ${tokens} tokens.`);
      }
    }
  }
  return completions;
}

/** What an extractor finds: `null` when that is nothing, or an empty text. */
export function answerOf(extract: AnswerExtractor, text: string): string | null {
  const answer: unknown = extract(text);
  if (answer === null || (typeof answer === 'string' && answer.trim() === '')) return null;
  if (typeof answer === 'string') return answer;
  throw new ContractError(`extractAnswer returned ${String(answer)}; return a text, or null when there is no answer.`);
}
