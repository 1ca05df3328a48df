import { scalar, type Tensor } from '@posttrain/core-tensor';
import type { LossScale } from '@posttrain/core-tensor/optim';

/** `LossScale` as scalars, so that it is saved with the rest. */
export interface SavedScale {
  readonly scale: Tensor;
  readonly growthTracker: Tensor;
}

/** A loss scale as it is saved. */
export const savedScale = ({ scale, growthTracker }: LossScale): SavedScale => ({
  scale: scalar(scale),
  growthTracker: scalar(growthTracker, 'int32'),
});
