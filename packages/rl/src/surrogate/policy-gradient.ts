import { stopGradient } from '@posttrain/core-tensor';
import type { Surrogate } from './surrogate.js';

/** The policy gradient itself (Williams, 1992): -sg[ρ] A log π, where sg stops the gradient. Nothing is clipped. */
export function policyGradient(): Surrogate {
  return {
    name: 'policy-gradient',
    settings: {},
    needsRatio: false,
    compute: ({ logProbs, ratio, advantages }) => ({ loss: stopGradient(ratio).mul(advantages).mul(logProbs).neg() }),
  };
}
