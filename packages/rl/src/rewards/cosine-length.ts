import { type Given, type HasSettings, integer, number, options, type Verifier } from '@posttrain/interfaces';
import { verdictsOf, verifierOption } from './members.js';
import { tokensOf } from './tokens.js';

const cosineLengthOptions = options('cosineLength', {
  /** Whether the answer is right: at least 1 is. */
  correct: verifierOption,
  /** L, the tokens at which the reward is that of the longest completion. */
  maxLength: integer({ min: 1 }),
  /** Of a right answer of no token. Default 1. */
  shortCorrect: number({ default: 1 }),
  /** Of a right answer of L tokens. Default 0.5. */
  longCorrect: number({ default: 0.5 }),
  /** Of a wrong answer of no token. Default -1. */
  shortWrong: number({ default: -1 }),
  /** Of a wrong answer of L tokens. Default -0.5. */
  longWrong: number({ default: -0.5 }),
});
/** Options of `cosineLength`. */
export type CosineLengthOptions = Given<typeof cosineLengthOptions>;

/**
 * The cosine reward ("Demystifying Long Chain-of-Thought Reasoning", arXiv 2502.03373, eq. 1) of a completion of n tokens: right answers are worth more the
 * shorter they are, wrong ones the longer, so that a model thinks on where it has not found the answer:
 *
 *   long + (short − long) (1 + cos(π min(n, L) / L)) / 2
 *
 * with `short` and `long` of right or of wrong answers. Beyond L it is that of L, where ms-swift's turns back. What `correct` cannot score is not scored.
 *
 * @throws OptionError; VerifierInputError without token ids; what `correct` throws
 */
export function cosineLength(given: CosineLengthOptions): Verifier & HasSettings {
  const { correct, maxLength, ...values } = cosineLengthOptions.read(given);
  return {
    name: 'cosineLength',
    settings: cosineLengthOptions.settings(given),
    async verify(requests) {
      const verdicts = await verdictsOf(correct, requests);
      return verdicts.map(({ score }, i) => {
        if (score === null) return { score };
        const isRight = score >= 1;
        const short = isRight ? values.shortCorrect : values.shortWrong;
        const long = isRight ? values.longCorrect : values.longWrong;
        const share = Math.min(tokensOf('cosineLength', requests[i]!), maxLength) / maxLength;
        return { score: long + ((short - long) * (1 + Math.cos(Math.PI * share))) / 2 };
      });
    },
  };
}
