import type { Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';

/** What names of tensors in a snapshot begin with that rules for updates keep. */
const KEPT = 'kept.';

/** Tensors that rules for updates keep, each under its name: a part of a trainer's snapshots. */
export class KeptTensors {
  #kept: Named = {};

  /** Those under a name, without it; undefined where there are none. */
  of(name: string): Named | undefined {
    const own = Object.entries(this.#kept).filter(([key]) => key.startsWith(`${name}.`));
    return own.length === 0 ? undefined : Object.fromEntries(own.map(([key, x]) => [key.slice(name.length + 1), x]));
  }

  /** Puts others in the place of those under a name. */
  keep(name: string, tensors: Named): void {
    const others = Object.entries(this.#kept).filter(([key]) => !key.startsWith(`${name}.`));
    const own = Object.entries(tensors).map(([key, x]) => [`${name}.${key}`, x] as const);
    this.#kept = Object.fromEntries([...others, ...own]);
  }

  /** All, as a snapshot has them. */
  get saved(): Named {
    return Object.fromEntries(Object.entries(this.#kept).map(([name, x]) => [`${KEPT}${name}`, x]));
  }

  /** Takes those of a snapshot. */
  restore(tensors: Readonly<Record<string, Tensor>>): void {
    const kept = Object.entries(tensors).filter(([name]) => name.startsWith(KEPT));
    this.#kept = Object.fromEntries(kept.map(([name, x]) => [name.slice(KEPT.length), x]));
  }
}
