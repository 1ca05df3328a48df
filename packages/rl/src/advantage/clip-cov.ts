import { Key } from '@posttrain/core-tensor';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import type { Advantage } from './advantage.js';
import { tokenCovariances } from './token-covariances.js';

export const clipCovShape = {
  /** The share of trained tokens that are let go of, one at least. Default 2e-4. */
  clipCovRatio: number({ default: 2e-4, above: 0, max: 1 }),
  /** Tokens with a covariance above this may be. Default 1. */
  clipCovLow: number({ default: 1 }),
  /** And below this. Default 5. */
  clipCovHigh: number({ default: 5 }),
  /** Which of them, in every step anew. Default 0. */
  seed: integer({ default: 0, min: 0 }),
};
const clipCovOptions = options('clipCov', clipCovShape);
/** Options of `clipCov`. */
export type ClipCovOptions = Given<typeof clipCovOptions>;

/**
 * Clip-Cov (arXiv 2505.22617): a few tokens whose advantage and log-probability go together most, which is what eats the policy's entropy, are drawn
 * at random and get the advantage 0 in this step. The covariance is that of the policy that sampled, over the whole step.
 *
 * @throws OptionError
 */
export function clipCov(advantage: Advantage, given: ClipCovOptions = {}): Advantage {
  const { clipCovRatio, clipCovLow, clipCovHigh, seed } = clipCovOptions.read(given);
  let step = 0;
  return {
    ...advantage,
    name: `clip-cov(${advantage.name})`,
    settings: { ...advantage.settings, ...clipCovOptions.settings(given) },
    compute(rollouts) {
      const own = advantage.compute(rollouts);
      const all = tokenCovariances(rollouts, own);
      const candidates = all.filter(({ covariance }) => covariance > clipCovLow && covariance < clipCovHigh);
      const draws = Key.fromSeed(seed).child(step).uniformHost(Math.max(candidates.length, 1)) as ArrayLike<number>;
      step++;
      const chosen = candidates
        .map((one, i) => ({ ...one, draw: draws[i]! }))
        .toSorted((a, b) => a.draw - b.draw)
        .slice(0, Math.max(Math.floor(clipCovRatio * all.length), 1));
      const advantages = own.map((value, i) =>
        typeof value === 'number' ? rollouts[i]!.completionTokens.map(() => value) : Array.from(value),
      );
      for (const { rollout, token } of chosen) advantages[rollout]![token] = 0;
      return advantages;
    },
    state: () => ({ step, advantage: advantage.state?.() ?? null }),
    async load(state) {
      const saved = state as { readonly step: number; readonly advantage: unknown };
      step = saved.step;
      await advantage.load?.(saved.advantage);
    },
  };
}
