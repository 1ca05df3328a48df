import { createHash } from 'node:crypto';
import { PosttrainError, type Prompt } from '@posttrain/interfaces';
import type { PeftAdapter } from '@posttrain/peft';

/** A few letters that stand for the data and the adapter of a run, so that no run goes on with others. */
export function runIdentity(
  texts: Iterable<Prompt | undefined>,
  adapter: PeftAdapter | undefined,
): { readonly data: string; readonly adapter: string } {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(JSON.stringify(text ?? null));
  const method = adapter && { peftType: adapter.method.peftType, ...adapter.config };
  return { data: hash.digest('hex').slice(0, 16), adapter: JSON.stringify(method ?? null) };
}

/** Dropout would make the policy that is trained another one than the policy that sampled or that is compared with. */
export function refuseDropout(where: string, adapter: PeftAdapter | undefined): void {
  const { loraDropout = 0 } = (adapter?.config ?? {}) as { readonly loraDropout?: number };
  if (loraDropout === 0) return;
  throw new PosttrainError('DROPOUT', `${where}: loraDropout is ${loraDropout}; create the adapter with 0`);
}
