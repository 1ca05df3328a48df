import { stopGradient } from '@posttrain/core-tensor';
import { type Given, number, OptionError, options } from '@posttrain/interfaces';
import type { Surrogate } from './surrogate.js';

export const cispoShape = {
  /** The largest weight: of the ratio itself, not of its distance from 1. Default 5, as in TRL's example. */
  epsilonHigh: number({ default: 5, above: 0 }),
  /** The smallest weight. Default 0: none, as in the paper and TRL; verl has 1 - ε, and 1 + ε above. */
  epsilonLow: number({ default: 0, min: 0 }),
};
const cispoOptions = options('cispo', cispoShape);
/** Options of `cispo`. */
export type CispoOptions = Given<typeof cispoOptions>;

/**
 * CISPO (MiniMax-M1, arXiv 2506.13585): -sg[clip(ρ, ε_low, ε_high)] A log π. The weight is clipped, and not the gradient: a token
 * far from π_old is still learnt from.
 *
 * @throws OptionError
 */
export function cispo(given: CispoOptions = {}): Surrogate {
  const { epsilonHigh, epsilonLow } = cispoOptions.read(given);
  if (epsilonLow > epsilonHigh) {
    const problem = `epsilonLow is ${epsilonLow}, above epsilonHigh, which is ${epsilonHigh}.`;
    throw new OptionError('INVALID_OPTION', 'cispo', 'epsilonLow', problem);
  }
  return {
    name: 'cispo',
    settings: cispoOptions.settings(given),
    needsRatio: false,
    compute: ({ logProbs, ratio, advantages }) => ({
      loss: stopGradient(ratio.clamp(epsilonLow, epsilonHigh)).mul(advantages).mul(logProbs).neg(),
    }),
  };
}
