import { type Given, number, options } from '@posttrain/interfaces';
import type { Surrogate } from '@posttrain/rl';

const myMethodOptions = options('myMethod', {
  /** ε, how far from 1 the best ratio is. Default 0.2. */
  epsilon: number({ default: 0.2, above: 0 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * A surrogate with a parabola in the place of the clip (arXiv 0000.00000, eq. 0): -(ρ A - |A| (ρ - 1)² / 2ε), which is least at
 * ρ = 1 + ε sign A.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): Surrogate {
  const { epsilon } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    needsRatio: true,
    compute({ ratio, advantages }) {
      const distance = ratio.sub(1).square().mul(advantages.abs());
      return { loss: distance.div(2 * epsilon).sub(ratio.mul(advantages)) };
    },
  };
}
