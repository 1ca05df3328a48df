import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';

/** Options of `lossScaler`, by the names of torch's GradScaler in camel case. */
export interface LossScalerOptions {
  /** The first scale. Default 65536. */
  readonly initialScale?: number;
  /** The scale grows by this factor, at least 1 … Default 2. */
  readonly growthFactor?: number;
  /** … after so many updates in a row with finite gradients. Default 2000. */
  readonly growthInterval?: number;
  /** The scale shrinks by this factor, below 1, when a gradient is not finite. Default 0.5. */
  readonly backoffFactor?: number;
}

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
export function lossScaler(options: LossScalerOptions = {}): LossScaler {
  assertKnownOptions('lossScaler', options, ['initialScale', 'growthFactor', 'growthInterval', 'backoffFactor']);
  const { initialScale = 65_536, growthFactor = 2, growthInterval = 2000, backoffFactor = 0.5 } = options;
  const isRight =
    initialScale > 0 &&
    growthFactor >= 1 &&
    backoffFactor > 0 &&
    backoffFactor < 1 &&
    Number.isInteger(growthInterval) &&
    growthInterval >= 1;
  if (!isRight) {
    throw new PosttrainError(
      'LOSS_SCALER',
      `lossScaler: ${JSON.stringify(options)}: needs initialScale > 0, growthFactor ≥ 1, 0 < backoffFactor < 1 and a whole growthInterval ≥ 1`,
    );
  }
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
