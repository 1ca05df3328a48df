import { scalar, type Tensor } from '@posttrain/core-tensor';
import { type LossScale, type LossScaler, type LossScalerOptions, lossScaler } from '@posttrain/core-tensor/optim';

/** `LossScale` as scalars, so that it is saved with the rest. */
export interface SavedScale {
  readonly scale: Tensor;
  readonly growthTracker: Tensor;
}

const savedScale = ({ scale, growthTracker }: LossScale): SavedScale => ({
  scale: scalar(scale),
  growthTracker: scalar(growthTracker, 'int32'),
});

/** Where a gradient overflows even with this scale, scaling is not what is wrong. */
const SMALLEST_LOSS_SCALE = 1;

/** What losses are multiplied by before their gradient, so that it does not underflow; nothing where it is off. */
export class LossScaling {
  readonly #scaler: LossScaler | undefined;
  #saved: SavedScale | undefined;

  constructor(options: true | LossScalerOptions | undefined) {
    this.#scaler = options && lossScaler(options === true ? {} : options);
    this.#saved = this.#scaler && savedScale(this.#scaler.initial);
  }

  get saved(): SavedScale | undefined {
    return this.#saved;
  }

  restore(saved: SavedScale | undefined): void {
    this.#saved = saved;
  }

  /** An input of what is compiled. */
  get tensor(): Tensor | undefined {
    return this.#saved?.scale;
  }

  async value(): Promise<number> {
    return (await this.#saved?.scale.item()) ?? 1;
  }

  /** Whether a gradient that is not finite with this scale may be finite with a smaller one. */
  canFall(scale: number): boolean {
    return this.#scaler !== undefined && scale > SMALLEST_LOSS_SCALE;
  }

  async next(gradientsWereFinite: boolean): Promise<void> {
    if (!this.#scaler || !this.#saved) return;
    const [scale, growthTracker] = [await this.#saved.scale.item(), await this.#saved.growthTracker.item()];
    this.#saved = savedScale(this.#scaler.next({ scale, growthTracker }, gradientsWereFinite));
  }
}
