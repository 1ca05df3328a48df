import { stopGradient, where } from '@posttrain/core-tensor';
import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import type { Surrogate } from './surrogate.js';

export const vespoShape = {
  /** k of completions with an advantage of 0 or more. Default 2. */
  kPos: number({ default: 2, min: 0 }),
  /** λ of these. Default 3. */
  lambdaPos: number({ default: 3, min: 0 }),
  /** k of completions with a negative advantage. Default 3. */
  kNeg: number({ default: 3, min: 0 }),
  /** λ of these. Default 2. */
  lambdaNeg: number({ default: 2, min: 0 }),
  /** Whose probability w divides by: π_old's, or the sampler's, which may be another engine. Default `old`. */
  behaviour: oneOf(['old', 'sampler'], { default: 'old' }),
};
const vespoOptions = options('vespo', vespoShape);
/** Options of `vespo`. */
export type VespoOptions = Given<typeof vespoOptions>;

/** log w lies between log 1e-8 and this, as in TRL. */
const LARGEST = 20;

/**
 * VESPO (arXiv 2602.10693): -sg[φ(w)] A log π, where w = π(o) / μ(o) is the ratio of whole completions and φ(w) = e^λ w^k e^(-λw) a
 * gamma kernel with φ(1) = 1, which lets go of completions that have become much more or much less likely. No clip, and no length in it.
 *
 * @throws OptionError
 */
export function vespo(given: VespoOptions = {}): Surrogate {
  const { kPos, lambdaPos, kNeg, lambdaNeg, behaviour } = vespoOptions.read(given);
  return {
    name: 'vespo',
    settings: vespoOptions.settings(given),
    needsRatio: false,
    needsSampler: behaviour === 'sampler',
    level: 'sequence',
    compute({ logProbs, advantages, oldLogProbs, samplerLogProbs, mask }) {
      const before = behaviour === 'sampler' ? samplerLogProbs! : oldLogProbs;
      const logRatio = logProbs.sub(before).mul(mask).clamp(-LARGEST, LARGEST);
      const logW = logRatio.sum(1, { keepDims: true }).clamp(Math.log(1e-8), LARGEST).broadcastTo(logProbs.shape);
      const kernel = (k: number, lambda: number) => logW.mul(k).sub(logW.exp().mul(lambda)).add(lambda).exp();
      const phi = where(advantages.greaterEqual(0), kernel(kPos, lambdaPos), kernel(kNeg, lambdaNeg));
      return { loss: stopGradient(phi).mul(advantages).mul(logProbs).neg() };
    },
  };
}
