import { PosttrainError } from '@posttrain/interfaces';
import type { PeftAdapter } from '@posttrain/peft';

/** Dropout would make the policy that is trained another one than the policy that sampled or that is compared with. */
export function refuseDropout(where: string, adapter: PeftAdapter | undefined): void {
  const { loraDropout = 0 } = (adapter?.config ?? {}) as { readonly loraDropout?: number };
  if (loraDropout === 0) return;
  throw new PosttrainError('DROPOUT', `${where}: loraDropout is ${loraDropout}; create the adapter with 0`);
}
