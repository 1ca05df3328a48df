import { createHash } from 'node:crypto';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';

/** What stands for the data and the adapter of a run, so that no run goes on with others. */
export interface RunIdentity {
  /** Hash, 16 hexadecimal digits. */
  readonly data: string;
  /** Method and configuration as JSON; `null`: the model itself is trained. */
  readonly adapter: string;
}

/** The identity of a run. `data` is anything that JSON can write, in order. */
export function runIdentity(data: Iterable<unknown>, adapter: TrainableAdapter | undefined): RunIdentity {
  const hash = createHash('sha256');
  for (const item of data) hash.update(JSON.stringify(item ?? null));
  return { data: hash.digest('hex').slice(0, 16), adapter: JSON.stringify(adapter?.identity ?? null) };
}
