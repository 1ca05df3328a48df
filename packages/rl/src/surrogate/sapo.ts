import { where } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { Surrogate } from './surrogate.js';

export const sapoShape = {
  /** τ of tokens with a positive advantage. Default 1. */
  temperaturePos: number({ default: 1, above: 0 }),
  /** τ of all others: larger, so that they are let go of sooner. Default 1.05. */
  temperatureNeg: number({ default: 1.05, above: 0 }),
};
const sapoOptions = options('sapo', sapoShape);
/** Options of `sapo`. */
export type SapoOptions = Given<typeof sapoOptions>;

/**
 * SAPO (arXiv 2511.20347): -A · σ(τ(ρ - 1)) · 4/τ, a soft gate in the place of a clip. Its slope in ρ is 1 at ρ = 1 and falls to both
 * sides, but never to 0.
 *
 * @throws OptionError
 */
export function sapo(given: SapoOptions = {}): Surrogate {
  const { temperaturePos, temperatureNeg } = sapoOptions.read(given);
  return {
    name: 'sapo',
    settings: sapoOptions.settings(given),
    needsRatio: true,
    compute({ ratio, advantages }) {
      const gate = (tau: number) =>
        ratio
          .sub(1)
          .mul(tau)
          .sigmoid()
          .mul(4 / tau);
      return { loss: where(advantages.greater(0), gate(temperaturePos), gate(temperatureNeg)).mul(advantages).neg() };
    },
  };
}
