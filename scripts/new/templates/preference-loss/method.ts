import { relu } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { PreferenceLoss } from '@posttrain/rl';

const myMethodOptions = options('myMethod', {
  /** 1 / the margin of log-ratios that is wanted. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * The squared hinge of log-ratios (arXiv 0000.00000, eq. 0): max(0, 1 - β(h_w - h_l))² with h = log π(y) - log π_ref(y). A pair whose
 * margin β(h_w - h_l) is above 1 teaches nothing.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): PreferenceLoss {
  const { beta } = myMethodOptions.read(given);
  return {
    name: 'my_method',
    settings: myMethodOptions.settings(given),
    beta,
    compute({ chosen, rejected, referenceChosen, referenceRejected }) {
      const margin = chosen.sub(referenceChosen).sub(rejected.sub(referenceRejected));
      return relu(margin.mul(-beta).add(1)).square();
    },
  };
}
