import { type Given, integer, number, options } from '@posttrain/interfaces';

const lossScalerOptions = options('lossScaler', {
  /** The first scale. Default 65536. */
  initialScale: number({ default: 65_536, above: 0 }),
  /** The scale grows by this factor … Default 2. */
  growthFactor: number({ default: 2, min: 1 }),
  /** … after so many updates in a row with finite gradients. Default 2000. */
  growthInterval: integer({ default: 2000, min: 1 }),
  /** The scale shrinks by this factor when a gradient is not finite. Default 0.5. */
  backoffFactor: number({ default: 0.5, above: 0, below: 1 }),
});
/** Options of `lossScaler`, by the names of torch's GradScaler in camel case. */
export type LossScalerOptions = Given<typeof lossScalerOptions>;

/** The scale of a loss in mixed precision, and how long it has held. */
export interface LossScale {
  /** What the loss is multiplied by before it is differentiated, and the gradients divided by. */
  readonly scale: number;
  /** Updates in a row with finite gradients since the scale last changed. */
  readonly growthTracker: number;
}

/** How the scale of a loss goes on: see `lossScaler`. */
export interface LossScaler {
  readonly initial: LossScale;
  /** The scale after an update whose gradients were finite, or were not, so that it was skipped. */
  next(current: LossScale, gradientsWereFinite: boolean): LossScale;
}

/**
 * Dynamic loss scaling (arXiv 1710.03740, section 3.2), with the rule of torch.amp.GradScaler: gradients computed in
 * float16 are scaled up so that small ones do not vanish. When one overflows, the update is skipped and the scale
 * shrinks; after `growthInterval` updates without that it grows, unless it would not be a finite float32.
 */
export function lossScaler(given: LossScalerOptions = {}): LossScaler {
  const { initialScale, growthFactor, growthInterval, backoffFactor } = lossScalerOptions.read(given);
  return {
    initial: { scale: initialScale, growthTracker: 0 },
    next({ scale, growthTracker }, gradientsWereFinite) {
      if (!gradientsWereFinite) return { scale: Math.fround(scale * backoffFactor), growthTracker: 0 };
      if (growthTracker + 1 < growthInterval) return { scale, growthTracker: growthTracker + 1 };
      const grown = Math.fround(scale * growthFactor);
      return { scale: Number.isFinite(grown) ? grown : scale, growthTracker: 0 };
    },
  };
}
