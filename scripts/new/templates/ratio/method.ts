import { type Given, number, options } from '@posttrain/interfaces';
import type { Ratio } from '@posttrain/rl';

const myMethodOptions = options('myMethod', {
  /** α, how much the ratio counts: 1 is that of PPO, 0 none. Default 0.5. */
  alpha: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * A tempered ratio (arXiv 0000.00000, eq. 0): ρ_t = (π(o_t) / π_old(o_t))^α, one for each token.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): Ratio {
  const { alpha } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    level: 'token',
    compute: (logRatio) => logRatio.mul(alpha).exp(),
  };
}
