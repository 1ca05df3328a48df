import { custom, type Given, integer, number, oneOf, options } from '@posttrain/interfaces';
import type { NumericEnvironment } from '../rollout/numeric-environment.js';
import type { NumericPolicy } from '../rollout/play.js';

const isMeans = (value: unknown): boolean =>
  Array.isArray(value) && value.length > 0 && value.every((mean) => Number.isFinite(mean));

const banditOptions = options('bandit', {
  /** What each arm pays in the mean; of `bernoulli` from 0 to 1. */
  means: custom<readonly number[]>()('a list of numbers, one an arm', isMeans, {
    settings: (means) => means.join(', '),
  }),
  /** 1 or 0, the mean with normal noise, or the mean itself. Default `bernoulli`. */
  payout: oneOf(['bernoulli', 'normal', 'constant'], { default: 'bernoulli' }),
  /** Standard deviation of `normal`. Default 1. */
  deviation: number({ default: 1, above: 0 }),
  /** Pulls of an episode. Default 1. */
  pulls: integer({ default: 1, min: 1 }),
});
/** Options of `bandit`. */
export type BanditOptions = Given<typeof banditOptions>;

/** A bandit, with the best that can be expected of it. */
export interface Bandit extends NumericEnvironment {
  /** Expected return of an episode of the best arm. */
  readonly best: number;
  readonly oracle: NumericPolicy;
}

/**
 * A bandit of several arms: every pull pays by the arm that was chosen. An observation is how many pulls there have been.
 *
 * @throws OptionError; TypeError for a mean of `bernoulli` that is no probability
 */
export function bandit(given: BanditOptions): Bandit {
  const { means, payout, deviation, pulls } = banditOptions.read(given);
  if (payout === 'bernoulli' && means.some((mean) => mean < 0 || mean > 1)) {
    throw new TypeError(`bandit: means are ${means.join(', ')}; of bernoulli they must be from 0 to 1`);
  }
  const bestArm = means.indexOf(Math.max(...means));
  return {
    name: 'bandit',
    settings: banditOptions.settings(given),
    observationSize: 1,
    actions: { kind: 'discrete', count: means.length },
    best: pulls * means[bestArm]!,
    oracle: { name: 'best arm', act: (episodes) => episodes.map(() => bestArm) },
    start({ key }) {
      const draws = key.uniformHost(2 * pulls);
      let pulled = 0;
      return {
        observation: [0],
        step(action) {
          const mean = means[action as number]!;
          const [u, v] = [draws[2 * pulled]!, draws[2 * pulled + 1]!];
          pulled++;
          // Box and Muller; a draw of 0 has no logarithm.
          const noise = Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v);
          const reward = { bernoulli: u < mean ? 1 : 0, normal: mean + deviation * noise, constant: mean }[payout];
          return { observation: [pulled], reward, terminated: pulled >= pulls };
        },
      };
    },
  };
}
