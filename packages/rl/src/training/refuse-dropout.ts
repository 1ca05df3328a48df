import { PosttrainError } from '@posttrain/interfaces';
import type { TrainableAdapter } from '@posttrain/training';

/** Dropout would make the policy that is trained another one than the policy that sampled or that is compared with. */
export function refuseDropout(where: string, adapter: TrainableAdapter | undefined): void {
  if (adapter?.stochastic === undefined) return;
  throw new PosttrainError('DROPOUT', `${where}: the adapter's ${adapter.stochastic}; create it with 0`);
}

/** Rollouts do not say what an adapter reads of a sequence, and a whole one may say otherwise than its prompt did. */
export function refuseRowInputs(where: string, adapter: TrainableAdapter | undefined): void {
  const { rowInputs } = adapter ?? {};
  if (!rowInputs) return;
  const names = rowInputs.names.join(', ');
  throw new PosttrainError(
    'ADAPTER_INPUTS',
    `${where}: the adapter reads ${names} of a sequence, which rollouts do not say`,
  );
}
