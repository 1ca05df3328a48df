import { scalar, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { custom, type Given, number, options } from '@posttrain/interfaces';
import type { Penalty } from '../trainer/penalty.js';

const l2SpOptions = options('l2Sp', {
  /** w⁰, the parameters where training starts, by name: `trainer.copyParameters()`. What is new, as a head, is left out of them. */
  anchors: custom<Named>()('tensors by parameter', (value) => typeof value === 'object' && value !== null, {
    decisive: false,
  }),
  /** α, of the parameters that have an anchor. */
  alpha: number({ min: 0 }),
  /** β, of those that have none. Default 0.01, as in the paper. */
  beta: number({ default: 0.01, min: 0 }),
});
/** Options of `l2Sp`. */
export type L2SpOptions = Given<typeof l2SpOptions>;

const ANCHOR = 'anchors.';
const distance = (parameters: Named, { alpha, beta, ...tensors }: Named): Tensor =>
  Object.entries(parameters)
    .map(([name, p]) => {
      const anchor = tensors[`${ANCHOR}${name}`];
      return anchor ? p.sub(anchor).square().sum().mul(alpha!) : p.square().sum().mul(beta!);
    })
    .reduce((a, b) => a.add(b))
    .mul(0.5);

/**
 * L2-SP (arXiv 1802.01483, eq. 3): α/2 ‖w - w⁰‖² + β/2 ‖w'‖², as a penalty of `optimStep`. Weight decay towards the starting point
 * instead of the origin, w' being what has no starting point.
 *
 * @throws OptionError
 */
export function l2Sp(given: L2SpOptions): Penalty {
  const { anchors, alpha, beta } = l2SpOptions.read(given);
  const tensors = Object.fromEntries(Object.entries(anchors).map(([name, x]) => [`${ANCHOR}${name}`, x]));
  return { name: 'l2-sp', tensors: { ...tensors, alpha: scalar(alpha), beta: scalar(beta) }, compute: distance };
}
