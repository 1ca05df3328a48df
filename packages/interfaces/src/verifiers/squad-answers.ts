import { oneOf, text } from '../options/option.js';
import { type Given, options } from '../options/options.js';
import type { HasSettings } from '../settings.js';
import type { Verifier } from '../verify.js';
import { referenceTexts } from './reference-texts.js';
import { ruleVerifier } from './rule-verifier.js';
import { withoutThoughts } from './without-thoughts.js';

/** As SQuAD compares answers: lower case, without ASCII punctuation, without the articles, single spaces. */
export const squadNormalized = (answer: string): string =>
  answer
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu, ' ')
    .trim()
    .replace(/\s+/g, ' ');

const wordsOf = (answer: string): string[] =>
  squadNormalized(answer)
    .split(' ')
    .filter((word) => word !== '');

/** 2PR / (P + R) of the words that both have, each as often as both have it; 0 where there is none. */
export function squadF1(answer: string, reference: string): number {
  const [said, wanted] = [wordsOf(answer), wordsOf(reference)];
  const left = new Map<string, number>();
  for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of said) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    common++;
    left.set(word, count - 1);
  }
  return common === 0 ? 0 : (2 * common) / (said.length + wanted.length);
}

const squadOptions = (where: string) =>
  options(where, {
    /** Column of the reference answer, or of a list of them, of which the best counts. Default `answer`. */
    column: text({ default: 'answer' }),
    /**
     * Where the answer is: all that stands behind `</think>` (`completion`), within `<answer>`, or within `<finish>`, as ReSearch
     * (arXiv 2503.19470) has it; without these tags the score is 0. Default `completion`.
     */
    within: oneOf(['completion', 'answer', 'finish'], { default: 'completion' }),
  });
/** Options of `tokenF1` and `normalizedMatch`. */
export type SquadOptions = Given<ReturnType<typeof squadOptions>>;

const answerIn = (completion: string, within: 'completion' | 'answer' | 'finish'): string | null => {
  if (within === 'completion') return withoutThoughts(completion);
  const [open, close] = [`<${within}>`, `</${within}>`];
  if (!completion.includes(open) || !completion.includes(close)) return null;
  return completion.slice(completion.lastIndexOf(open) + open.length).split(close, 1)[0]!;
};

/**
 * F1 between the words of the answer and those of the reference, as SQuAD scores it (arXiv 1606.05250): a reward for answers in words, which
 * pays for what is partly right.
 *
 * @throws OptionError; VerifierInputError for a row without a reference
 */
export function tokenF1(given: SquadOptions = {}): Verifier & HasSettings {
  const declared = squadOptions('tokenF1');
  const { column, within } = declared.read(given);
  return ruleVerifier('tokenF1', declared.settings(given), ({ completion, row }) => {
    const answer = answerIn(completion, within);
    const references = referenceTexts('tokenF1', column, row);
    if (answer === null) return { score: 0, answer };
    return { score: Math.max(...references.map((one) => squadF1(answer, one))), answer };
  });
}

/**
 * 1 where the answer is the reference as SQuAD normalises both, else 0: for puzzles and other answers in a few words.
 *
 * @throws OptionError; VerifierInputError for a row without a reference
 */
export function normalizedMatch(given: SquadOptions = {}): Verifier & HasSettings {
  const declared = squadOptions('normalizedMatch');
  const { column, within } = declared.read(given);
  return ruleVerifier('normalizedMatch', declared.settings(given), ({ completion, row }) => {
    const answer = answerIn(completion, within);
    const references = referenceTexts('normalizedMatch', column, row);
    const isRight = answer !== null && references.some((one) => squadNormalized(one) === squadNormalized(answer));
    return { score: Number(isRight), answer };
  });
}
