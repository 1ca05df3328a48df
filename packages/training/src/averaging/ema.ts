import { compile, perEngine, scalar, type Tensor } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import type { WeightAverage } from './weight-average.js';

const emaOptions = options('ema', {
  /** What stays of the average in an update. Default 0.999. */
  decay: number({ default: 0.999, min: 0, max: 1 }),
  /** Updates between two of the average. Default 1. */
  updateFreq: integer({ default: 1, min: 1 }),
  /** Updates before the average begins, from the weights as they then are. Default 0. */
  updateAfter: integer({ default: 0, min: 0 }),
});
/** Options of `ema`. */
export type EmaOptions = Given<typeof emaOptions>;

const averaged = perEngine(() =>
  compile(
    (average: Named, now: Named, decay: Tensor) =>
      mapNamed(average, (x, name) => x.mul(decay).add(now[name]!.mul(scalar(1).sub(decay)))),
    { name: 'ema' },
  ),
);

/**
 * Exponential moving average of the weights (Polyak averaging; `get_ema_multi_avg_fn` of torch): after every `updateFreq`-th update
 *
 *   average = decay · average + (1 - decay) · θ
 *
 * beginning with the weights after `updateAfter` updates. One copy of what is trained.
 *
 * @throws OptionError
 */
export function ema(given: EmaOptions = {}): WeightAverage {
  const { decay, updateFreq, updateAfter } = emaOptions.read(given);
  return {
    name: 'ema',
    settings: emaOptions.settings(given),
    init: (start) => ({ average: start }),
    async update(update, now, { average }, { copy, engine }) {
      if (update < updateAfter) return undefined;
      if (update === updateAfter) return { average: await copy() };
      if ((update - updateAfter) % updateFreq !== 0) return undefined;
      return { average: await averaged(engine)(average, now, scalar(decay)) };
    },
  };
}
