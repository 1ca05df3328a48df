import { onesLike } from '@posttrain/core-tensor';
import type { Ratio } from './ratio.js';

/** ρ = 1: trusts that the completions were sampled from the policy being trained. */
export function noRatio(): Ratio {
  return { name: 'none', settings: {}, level: 'none', compute: (logRatio) => onesLike(logRatio) };
}
