import { type Given, number, options } from '@posttrain/interfaces';
import type { Aggregation } from '@posttrain/rl';

const myMethodOptions = options('myMethod', {
  /** p, how much less tokens of long completions weigh: 1 is the mean over completions of means, 0 that of sums. Default 0.5. */
  power: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * Between sums and means over tokens (arXiv 0000.00000, eq. 0): each token of a completion of n weighs 1 / (B · n^p).
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): Aggregation {
  const { power } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    weights: (lengths) => lengths.map((length) => 1 / (lengths.length * Math.max(length, 1) ** power)),
  };
}
