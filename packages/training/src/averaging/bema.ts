import { compile, perEngine, scalar, type Tensor } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import type { Averages, WeightAverage } from './weight-average.js';

const bemaOptions = options('bema', {
  /** φ: updates between two of the average. Default 400. */
  updateFreq: integer({ default: 400, min: 1 }),
  /** κ: the power of the weight of what is new; 0 makes the average the last weights. Default 0.5. */
  emaPower: number({ default: 0.5, min: 0 }),
  /** η: the power of the correction; a large one (8, say) is none, 0 one that does not fade. Default 0.2. */
  biasPower: number({ default: 0.2, min: 0 }),
  /** ρ: updates that count as done before the first. Default 10. */
  lag: number({ default: 10, min: 0 }),
  /** τ: updates before the average begins. Default 0. */
  updateAfter: integer({ default: 0, min: 0 }),
  /** γ: what an update counts. Default 1. */
  multiplier: number({ default: 1, above: 0 }),
  /** The least weight of what is new. Default 0. */
  minEmaMultiplier: number({ default: 0, min: 0, max: 1 }),
});
/** Options of `bema`, by the names of TRL's BEMACallback. */
export type BemaOptions = Given<typeof bemaOptions>;

const averaged = perEngine(() =>
  compile(
    ({ now, start, ema }: Readonly<Record<'now' | 'start' | 'ema', Named>>, beta: Tensor, alpha: Tensor) => {
      const next = mapNamed(ema, (x, name) => x.mul(scalar(1).sub(beta)).add(now[name]!.mul(beta)));
      return { ema: next, average: mapNamed(next, (x, name) => x.add(now[name]!.sub(start[name]!).mul(alpha))) };
    },
    { name: 'bema' },
  ),
);

/**
 * Bias-corrected exponential moving average of the weights (BEMA, arXiv 2508.00180, algorithm 1), as TRL's BEMACallback computes it.
 * After every φ-th update t, counted from τ:
 *
 *   EMA_t = (1 - β_t) EMA + β_t θ_t,  β_t = max((ρ + γ t)^-κ, `minEmaMultiplier`)
 *   average = EMA_t + α_t (θ_t - θ_τ),  α_t = (ρ + γ t)^-η
 *
 * The correction takes away the lag of the average behind weights that still move. Until its first update the average is the
 * beginning. Three copies of what is trained.
 *
 * @throws OptionError
 */
export function bema(given: BemaOptions = {}): WeightAverage {
  const { updateFreq, emaPower, biasPower, lag, updateAfter, multiplier, minEmaMultiplier } = bemaOptions.read(given);
  return {
    name: 'bema',
    settings: bemaOptions.settings(given),
    init: (start) => ({ start, ema: start, average: start }),
    async update(update, now, { start, ema, average }, { copy, engine }): Promise<Averages | undefined> {
      if (update < updateAfter) return undefined;
      if (update === updateAfter) {
        const copied = await copy();
        return { start: copied, ema: copied, average: average! };
      }
      if ((update - updateAfter) % updateFreq !== 0) return undefined;
      const age = lag + multiplier * update;
      const beta = scalar(Math.max(age ** -emaPower, minEmaMultiplier));
      const made = await averaged(engine)({ now, start: start!, ema: ema! }, beta, scalar(age ** -biasPower));
      return { start: start!, ...made };
    },
  };
}
