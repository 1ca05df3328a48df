import { type Completion, type Generator, showValue, type Verdict, type Verifier } from '@posttrain/interfaces';
import type { AnswerExtractor } from '@posttrain/interfaces/answers';
import { ContractError } from './errors.js';

/** Generators and verifiers have a name, by which traces and errors speak of them. @throws ContractError */
export function assertNamed(options: {
  readonly generator: Generator;
  readonly generators?: Readonly<Record<string, Generator>> | undefined;
  readonly verifier?: Verifier | undefined;
  readonly verifiers?: Readonly<Record<string, Verifier>> | undefined;
}): void {
  const { generator, generators = {}, verifier, verifiers = {} } = options;
  const all = [
    ['generator', generator] as const,
    ...Object.entries(generators).map(([role, one]) => [`generators.${role}`, one] as const),
    ...(verifier ? [['verifier', verifier] as const] : []),
    ...Object.entries(verifiers).map(([role, one]) => [`verifiers.${role}`, one] as const),
  ];
  const wrong = all.find(([, { name }]) => typeof name !== 'string');
  if (!wrong) return;
  const problem = `${wrong[0]} has the name ${showValue(wrong[1].name)}`;
  throw new ContractError(`${problem}; give it one, a text: traces and errors speak of it so.`);
}

/** The `n` completions of one request; throws when the generator did not keep its contract. */
export function checkedCompletions(name: string, completions: unknown, n: number): Completion[] {
  if (!Array.isArray(completions) || completions.length !== n) {
    const what = Array.isArray(completions) ? `${completions.length} completions` : 'no list of completions';
    throw new ContractError(`generator "${name}" returned ${what} for one request with n = ${n}.`);
  }
  for (const one of completions) {
    if (typeof one !== 'object' || one === null) {
      throw new ContractError(`generator "${name}" returned ${showValue(one)} in the place of a completion.`);
    }
    const { text, usage, logProbs, statistics = {} } = one as Completion;
    // A mean of what is no number would be compared with others, and neither be less nor more.
    for (const [what, numbers] of Object.entries({ ...statistics, ...(logProbs && { logProbs }) })) {
      const odd = Array.from(numbers).findIndex((value) => !Number.isFinite(value));
      if (odd < 0) continue;
      const said = `${showValue(numbers[odd])} for ${what}[${odd}]`;
      throw new ContractError(`generator "${name}" returned a completion with ${said}; it must be a finite number.`);
    }
    if (typeof text !== 'string' || typeof usage !== 'object' || usage === null) {
      const lacks = typeof text === 'string' ? `the usage ${showValue(usage)}` : `the text ${showValue(text)}`;
      const remedy = "a completion is { text, finishReason: 'stop', usage: { promptTokens, completionTokens } }";
      throw new ContractError(`generator "${name}" returned a completion with ${lacks}; ${remedy}.`);
    }
    for (const tokens of [usage.promptTokens, usage.completionTokens]) {
      if (!Number.isSafeInteger(tokens) || tokens < 0) {
        throw new ContractError(`generator "${name}" reported a usage of ${tokens} tokens.`);
      }
    }
    const { promptTokens, cachedPromptTokens: cached = 0 } = usage;
    if (!Number.isSafeInteger(cached) || cached < 0 || cached > promptTokens) {
      throw new ContractError(`generator "${name}" reported ${cached} of ${promptTokens} prompt tokens as cached.`);
    }
  }
  return completions;
}

/** As many verdicts as completions, each with a score that is one; throws when the verifier did not keep its contract. */
export function checkedVerdicts(name: string, verdicts: unknown, n: number): Verdict[] {
  if (!Array.isArray(verdicts) || verdicts.length !== n) {
    throw new ContractError(
      `verifier "${name}" returned ${Array.isArray(verdicts) ? verdicts.length : typeof verdicts} verdicts for ${n} ` +
        'completions.',
    );
  }
  const missing = verdicts.findIndex((verdict) => typeof verdict !== 'object' || verdict === null);
  if (missing >= 0) throw new ContractError(`verifier "${name}" gave completion ${missing} no verdict.`);
  (verdicts as Verdict[]).forEach(({ score, stepScores = [], answer = null }, i) => {
    if (answer !== null && typeof answer !== 'string') {
      throw new ContractError(
        `verifier "${name}" gave completion ${i} the answer ${showValue(answer)}; an answer is a text, or null.`,
      );
    }
    const odd = [score, ...stepScores].find((it) => it !== null && !Number.isFinite(it));
    if (odd === undefined) return;
    throw new ContractError(
      `verifier "${name}" gave completion ${i} the score ${odd}; a score is a finite number, or null when the completion ` +
        'cannot be scored.',
    );
  });
  return verdicts;
}

/** What an extractor finds: `null` when that is nothing, or an empty text. */
export function answerOf(extract: AnswerExtractor, text: string): string | null {
  const answer: unknown = extract(text);
  if (answer === null || (typeof answer === 'string' && answer.trim() === '')) return null;
  if (typeof answer === 'string') return answer;
  throw new ContractError(`extractAnswer returned ${String(answer)}; return a text, or null when there is no answer.`);
}

/** A step cannot be told from an end by a generator that does not say what ended it. */
export function assertStops({ name }: Generator, completions: readonly (Completion | undefined)[]): void {
  if (completions.every((it) => it?.finishReason !== 'stop' || it.stop !== undefined)) return;
  throw new ContractError(
    `generator "${name}" does not say which stop string ended a completion (Completion.stop), so that a step cannot be told ` +
      'from an end. Local models say it, and endpoints that have stop_reason.',
  );
}
