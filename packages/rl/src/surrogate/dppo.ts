import { stopGradient, where } from '@posttrain/core-tensor';
import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import type { Surrogate } from './surrogate.js';

export const dppoShape = {
  /**
   * How far a token's probability p has moved from p_old: `tv`, p - p_old; `kl`, the divergence of the two events "this token" and "another one".
   * Default `tv`.
   */
  divergence: oneOf(['tv', 'kl'], { default: 'tv' }),
  /** How far down it may move while the advantage is not positive. Default 0.2. */
  low: number({ default: 0.2, min: 0 }),
  /** How far up while it is. Default 0.2. */
  high: number({ default: 0.2, min: 0 }),
  /** `advantage`: only moves that the advantage pulls to count; `both`: any (prime-rl's `ipo`, with 0.1). Default `advantage`. */
  side: oneOf(['advantage', 'both'], { default: 'advantage' }),
  /** The largest ratio. Default 20. */
  cap: number({ default: 20, above: 0 }),
};
const dppoOptions = options('dppo', dppoShape);
/** Options of `dppo`. */
export type DppoOptions = Given<typeof dppoOptions>;

/** Added to 1 - p, whose logarithm is taken. */
const EPSILON = 1e-8;

/**
 * DPPO (arXiv 2602.04879): -sg[min(ρ, cap)] A log π of the tokens whose distribution has not left a trust region, and 0 of others. The region is
 * of the divergence, which one token gives a lower bound of, where PPO's is of the ratio: rare tokens may change by a large factor, common ones not.
 *
 * @throws OptionError
 */
export function dppo(given: DppoOptions = {}): Surrogate {
  const { divergence, low, high, side, cap } = dppoOptions.read(given);
  return {
    name: `dppo(${divergence})`,
    settings: dppoOptions.settings(given),
    needsRatio: false,
    compute({ logProbs, oldLogProbs, ratio, advantages }) {
      const [p, old] = [logProbs.exp(), oldLogProbs.exp()];
      const rest = old
        .neg()
        .add(1 + EPSILON)
        .log()
        .sub(
          p
            .neg()
            .add(1 + EPSILON)
            .log(),
        );
      const kl = old.mul(oldLogProbs.sub(logProbs)).add(old.neg().add(1).mul(rest));
      const moved = divergence === 'tv' ? p.sub(old).abs() : kl;
      const isPositive = advantages.greater(0);
      const up = p.greater(old).and(moved.greater(high));
      const down = p.less(old).and(moved.greater(low));
      const clipped =
        side === 'both' ? { low: down, high: up } : { low: down.and(isPositive.not()), high: up.and(isPositive) };
      const kept = where(clipped.low.or(clipped.high), 0, ratio.minimum(cap));
      return { loss: stopGradient(kept).mul(advantages).mul(logProbs).neg(), clipped };
    },
  };
}
