import { PosttrainError } from '@posttrain/interfaces';
import type { TrainableAdapter } from '@posttrain/training';

/** Dropout would make the policy that is trained another one than the policy that sampled or that is compared with. */
export function refuseDropout(where: string, adapter: TrainableAdapter | undefined): void {
  if (adapter?.stochastic === undefined) return;
  throw new PosttrainError('DROPOUT', `${where}: the adapter's ${adapter.stochastic}; create it with 0`);
}
