import {
  type Given,
  type HasSettings,
  number,
  oneOf,
  options,
  showValue,
  text,
  type Verifier,
} from '@posttrain/interfaces';
import { VerifierInputError } from '@posttrain/interfaces/verifiers';
import { verdictsOf, verifierOption } from './members.js';
import { tokensOf } from './tokens.js';

const lcpoOptions = options('lcpo', {
  /** Whether the answer is right: 1 or 0. */
  correct: verifierOption,
  /** The row's column with n_gold, the tokens that the prompt asks for. Default `target_tokens`. */
  column: text({ default: 'target_tokens' }),
  /** Exactly so many, or at most. Default `exact`. */
  mode: oneOf(['exact', 'max'], { default: 'exact' }),
  /** α, what a token counts. Default 0.0003, as in the paper. */
  alpha: number({ default: 0.0003, min: 0 }),
  /** δ of `max`: what a right answer of just n_gold tokens is worth. Default 0.5, as in the paper. */
  delta: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `lcpo`. */
export type LcpoOptions = Given<typeof lcpoOptions>;

/**
 * The reward of length controlled policy optimization (LCPO; L1, arXiv 2503.04697 §3) for a completion of n tokens where the prompt asks for
 * n_gold ("Think for n tokens.", as `lengthControl` of `@posttrain/tts` does), with c whether it is right:
 *
 *   exact:  c − α |n_gold − n|,    max:  c · clip(α (n_gold − n) + δ, 0, 1)
 *
 * The authors' code has α / 2 in `max`, where it maps α (n_gold − n), clipped to [−1, 1], to [0, 1]: its α is twice the one here.
 *
 * What `correct` cannot score is not scored. `n` counts all tokens that were drawn, the end token among them.
 *
 * @throws OptionError; VerifierInputError for a row without the column, or without token ids; what `correct` throws
 */
export function lcpo(given: LcpoOptions): Verifier & HasSettings {
  const { correct, column, mode, alpha, delta } = lcpoOptions.read(given);
  return {
    name: 'lcpo',
    settings: lcpoOptions.settings(given),
    async verify(requests) {
      const verdicts = await verdictsOf(correct, requests);
      return verdicts.map(({ score }, i) => {
        const request = requests[i]!;
        const target = request.row?.[column];
        if (typeof target !== 'number' || !(Number.isFinite(target) && target >= 0)) {
          const found = target === undefined ? '' : ` It is ${showValue(target)}.`;
          throw new VerifierInputError(
            `lcpo needs the tokens that were asked for in the column "${column}" of the row, a number of at least 0.${found}`,
          );
        }
        if (score === null) return { score };
        const spare = target - tokensOf('lcpo', request);
        if (mode === 'exact') return { score: score - alpha * Math.abs(spare) };
        return { score: score * Math.min(1, Math.max(0, alpha * spare + delta)) };
      });
    },
  };
}
