import { type Given, type HasSettings, number, options, type Verifier } from '@posttrain/interfaces';
import { groupReward } from './group-reward.js';
import { verdictsOf, verifierOption } from './members.js';
import { tokensOf } from './tokens.js';

const kimiLengthOptions = options('kimiLength', {
  /** Whether an answer is right; it is asked about all completions of a prompt together. */
  correct: verifierOption,
  /** A score of at least this is right. Default 0.5. */
  threshold: number({ default: 0.5 }),
});
/** Options of `kimiLength`. */
export type KimiLengthOptions = Given<typeof kimiLengthOptions>;

/**
 * The length reward of Kimi k1.5 (arXiv 2501.12599, § 2.3.3), by which long2short RL makes answers short: of k completions of a prompt, of n_i tokens,
 *
 *   λ_i = 0.5 - (n_i - min n) / (max n - min n);  λ_i where it is right, min(0, λ_i) where it is wrong; 0 where all are equally long
 *
 * To be added to what says what is right, with a weight, and not from the first step on, as the paper says. Completions that cannot be scored get null.
 *
 * @throws OptionError; PosttrainError BAD_RESPONSE for as many verdicts as there are not completions; VerifierInputError without token ids
 */
export function kimiLength(given: KimiLengthOptions): Verifier & HasSettings {
  const { correct, threshold } = kimiLengthOptions.read(given);
  return groupReward('kimiLength', kimiLengthOptions.settings(given), async (completions) => {
    const verdicts = await verdictsOf(correct, completions);
    const lengths = completions.map((request) => tokensOf('kimiLength', request));
    const [least, most] = [Math.min(...lengths), Math.max(...lengths)];
    return verdicts.map(({ score }, i) => {
      if (score === null) return null;
      if (most === least) return 0;
      const lambda = 0.5 - (lengths[i]! - least) / (most - least);
      return score >= threshold ? lambda : Math.min(0, lambda);
    });
  });
}
