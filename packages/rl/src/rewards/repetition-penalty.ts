import { type Given, type HasSettings, integer, number, oneOf, options, type Verifier } from '@posttrain/interfaces';
import { ruleVerifier, VerifierInputError } from '@posttrain/interfaces/verifiers';

const repetitionPenaltyOptions = options('repetitionPenalty', {
  /** n of the n-grams. Default 3. */
  n: integer({ default: 3, min: 1 }),
  /** What a completion costs that says nothing but the same, from below. Default -1. */
  maxPenalty: number({ default: -1, max: 0 }),
  /** N-grams of tokens, as the paper and TRL have them, or of words in lower case, as ms-swift has. Default `tokens`. */
  unit: oneOf(['tokens', 'words'], { default: 'tokens' }),
});
/** Options of `repetitionPenalty`. */
export type RepetitionPenaltyOptions = Given<typeof repetitionPenaltyOptions>;

/**
 * The n-gram repetition penalty ("Demystifying Long Chain-of-Thought Reasoning", arXiv 2502.03373, appendix C.2), of a completion:
 *
 *   (1 − different n-grams / n-grams) · maxPenalty,    0 for fewer than n tokens
 *
 * @throws OptionError; VerifierInputError without token ids
 */
export function repetitionPenalty(given: RepetitionPenaltyOptions = {}): Verifier & HasSettings {
  const { n, maxPenalty, unit } = repetitionPenaltyOptions.read(given);
  return ruleVerifier('repetitionPenalty', repetitionPenaltyOptions.settings(given), ({ completion, tokenIds }) => {
    if (unit === 'tokens' && !tokenIds) {
      throw new VerifierInputError(
        'repetitionPenalty needs the token ids of completions, which the generator did not give; or take { unit: "words" }.',
      );
    }
    const items = unit === 'tokens' ? tokenIds!.map(String) : (completion.toLowerCase().match(/\S+/g) ?? []);
    const count = items.length - n + 1;
    if (count < 1) return 0;
    const different = new Set(Array.from({ length: count }, (_, i) => items.slice(i, i + n).join('\n')));
    return different.size === count ? 0 : (1 - different.size / count) * maxPenalty;
  });
}
