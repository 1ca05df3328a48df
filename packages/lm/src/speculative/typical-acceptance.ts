import { type Given, number, options } from '@posttrain/interfaces';
import { probabilityOf, type TokenDistribution } from './token-distribution.js';

const typicalAcceptanceOptions = options('typicalAcceptance', {
  /** ε: a token of at least this probability is kept whatever the entropy. Default 0.09, as in the reference. */
  epsilon: number({ default: 0.09, above: 0, max: 1 }),
  /** δ: how far below e^(−H) a token may be. Default 0.3, as in the reference. */
  delta: number({ default: 0.3, above: 0 }),
});
/** Options of `typicalAcceptance`. */
export type TypicalAcceptanceOptions = Given<typeof typicalAcceptanceOptions>;

/** Whether a proposed token is kept where the model has this distribution. */
export type Acceptance = (target: TokenDistribution, token: number) => boolean;

/**
 * Typical acceptance (Medusa, arXiv 2401.10774 §2.3.1): a proposed token x is kept where the model, with the row's settings, finds it
 * typical,
 *
 *   p(x) > min(ε, δ e^(−H(p))),    H(p) = −Σ p log p
 *
 * Not exact: more is kept than verification would, and what is generated has another distribution than the model's.
 *
 * @throws OptionError
 */
export function typicalAcceptance(given: TypicalAcceptanceOptions = {}): Acceptance {
  const { epsilon, delta } = typicalAcceptanceOptions.read(given);
  return (target, token) => {
    const entropy = target.probabilities.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);
    return probabilityOf(target, token) > Math.min(epsilon, delta * Math.exp(-entropy));
  };
}
