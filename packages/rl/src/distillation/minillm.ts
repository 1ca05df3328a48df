import { boolean, type Given, number, oneOf, options } from '@posttrain/interfaces';
import type { Advantage } from '../advantage/advantage.js';
import { outcomeShape, teacherGaps, withOutcome } from './on-policy-distillation.js';

export const miniLlmShape = {
  /** Discount of later tokens. Default 1, as in the paper; TRL's is 0. */
  gamma: number({ default: 1, min: 0, max: 1 }),
  /** Divide by the (discounted) number of tokens that are summed, so that long completions do not count more. Default true. */
  lengthNormalization: boolean({ default: true }),
  /**
   * Where a token's reward-to-go begins: behind it (`next`: R_{t+1} of the paper, whose own term is the single-step decomposition's), or
   * with it (`token`: TRL, and what is right without the decomposition). Default `next`.
   */
  rewardToGo: oneOf(['next', 'token'], { default: 'next' }),
  ...outcomeShape,
};
const miniLlmOptions = options('miniLlm', miniLlmShape);
/** Options of `miniLlm`. */
export type MiniLlmOptions = Given<typeof miniLlmOptions>;

/**
 * The advantage of MiniLLM (arXiv 2306.08543, §2.2): rewards r_i = log π_T(y_i | y_<i) - log π_old(y_i | y_<i) to go,
 *
 *   A_t = Σ_{i ≥ s} γ^(i - t₀) r_i / Σ_{i ≥ s} γ^(i - t₀),   s = t + 1 (`next`) or t (`token`)
 *
 * over the trained tokens of the completion; without `lengthNormalization` the numerator alone, with t₀ the first token, as in TRL 1.9
 * (the gradient of a discounted sum). A γ of 0 has r_t itself with `token` and nothing with `next`. It needs `teacherLogProb`.
 *
 * @throws OptionError
 */
export function miniLlm(given: MiniLlmOptions = {}): Advantage {
  const { gamma, lengthNormalization, rewardToGo, outcome } = miniLlmOptions.read(given);
  return withOutcome('minillm', miniLlmOptions.settings(given), outcome, (rollout) => {
    const gaps = teacherGaps(rollout);
    const isTrained = (t: number) => (rollout.mask?.[t] ?? 1) !== 0;
    if (gamma === 0) return gaps.map((gap) => (rewardToGo === 'token' ? gap : 0));
    const values = new Array<number>(gaps.length).fill(0);
    const place = gaps.map(() => 0);
    let count = 0;
    gaps.forEach((_, t) => {
      place[t] = count;
      if (isTrained(t)) count++;
    });
    // Backwards, relative to the token at hand, so that no power of γ becomes 0 in a long completion.
    let [sum, weight] = [0, 0];
    for (let t = gaps.length - 1; t >= 0; t--) {
      const behind = [gamma * sum, gamma * weight] as const;
      if (isTrained(t)) [sum, weight] = [gaps[t]! + behind[0], 1 + behind[1]];
      const [s, w] = rewardToGo === 'next' && isTrained(t) ? behind : [sum, weight];
      values[t] = lengthNormalization ? (w > 0 ? s / w : 0) : s * gamma ** place[t]!;
    }
    return values;
  });
}
