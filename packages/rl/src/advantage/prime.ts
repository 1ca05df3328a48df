import { type Given, number, options } from '@posttrain/interfaces';
import { groupsOf, type Rollout, trainedTokens } from '../rollout.js';
import type { Advantage } from './advantage.js';
import { spreadOf } from './gae.js';

export const primeShape = {
  /** What the rewards of tokens count: those of the implicit reward model. Default 5, as in the authors' recipe. */
  dpoCoef: number({ default: 5, min: 0 }),
  /** What the reward of the outcome counts. Default 5. */
  gtCoef: number({ default: 5, min: 0 }),
};
const primeOptions = options('prime', primeShape);
/** Options of `prime`. */
export type PrimeOptions = Given<typeof primeOptions>;

/** r · n / (n - 1) less the sum of the group's means over n - 1: what is left of a reward beside those of the n - 1 others. */
function leftOver(value: number, means: readonly number[]): number {
  const others = means.length - 1;
  return others === 0 ? 0 : (value * means.length - means.reduce((a, b) => a + b, 0)) / others;
}

/**
 * The advantage of PRIME (arXiv 2502.01456, eq. 5): leave-one-out of each source of rewards by itself, added up to returns
 *
 *   A_t = Σ_{s ≥ t} dpoCoef (n r_s - Σ_j r̄_j) / (n - 1) + gtCoef (n R - Σ_j R_j) / (n - 1)
 *
 * whitened over the step's trained tokens, with r̄_j the mean reward of the tokens of completion j of the n of a prompt. r are `tokenRewards`
 * (`implicitRewardModel()` gives them), R is the reward. As in the authors' recipe for verl; for whole completions each term is what `leaveOneOut`
 * gives. A completion alone in its group has 0 of each; one that is not scorable has no part.
 *
 * @throws OptionError
 */
export function prime(given: PrimeOptions = {}): Advantage {
  const { dpoCoef, gtCoef } = primeOptions.read(given);
  return {
    name: 'prime',
    settings: primeOptions.settings(given),
    needsGroup: true,
    needs: ['tokenRewards'],
    level: 'token',
    compute(rollouts) {
      const returns = new Map<Rollout, { readonly at: readonly number[]; readonly values: readonly number[] }>();
      for (const group of groupsOf(rollouts)) {
        const placed = group.map((rollout) => ({ rollout, at: placesOf(rollout) })).filter(({ at }) => at.length > 0);
        const means = placed.map(({ rollout, at }) => at.reduce((sum, t) => sum + own(rollout, t), 0) / at.length);
        const outcomes = placed.map(({ rollout }) => rollout.reward!);
        for (const { rollout, at } of placed) {
          let toCome = gtCoef * leftOver(rollout.reward!, outcomes);
          const values = new Array<number>(at.length);
          for (let i = at.length - 1; i >= 0; i--) {
            toCome += dpoCoef * leftOver(own(rollout, at[i]!), means);
            values[i] = toCome;
          }
          returns.set(rollout, { at, values });
        }
      }
      const { mean, divisor } = spreadOf([...returns.values()].flatMap(({ values }) => values));
      return rollouts.map((rollout) => {
        const advantages = rollout.completionTokens.map(() => 0);
        const found = returns.get(rollout);
        found?.at.forEach((t, i) => {
          advantages[t] = (found.values[i]! - mean) / divisor;
        });
        return advantages;
      });
    },
  };
}

const own = ({ tokenRewards }: Rollout, t: number): number => tokenRewards?.[t] ?? 0;

/** Trained tokens of a completion that can be scored. */
const placesOf = (rollout: Rollout): number[] =>
  rollout.reward === null ? [] : trainedTokens(rollout).flatMap((isTrained, t) => (isTrained ? [t] : []));
