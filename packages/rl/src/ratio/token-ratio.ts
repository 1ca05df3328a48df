import type { Ratio } from './ratio.js';

/** ρ_t = π(o_t) / π_old(o_t): one ratio per token (PPO, arXiv 1707.06347; GRPO). */
export function tokenRatio(): Ratio {
  return { name: 'token', settings: {}, level: 'token', compute: (logRatio) => logRatio.exp() };
}
