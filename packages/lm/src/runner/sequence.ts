import { type Adapter, sameCache, untouchedBy } from '../model/adapter.js';
import type { CachedSequence, ExtendRow } from './extend-inputs.js';
import type { Snapshot, StateHolder } from './state-store.js';

/** A sequence of a runner, as the runner knows it. */
export class Sequence implements CachedSequence, StateHolder {
  tokens: number[] = [];
  /** Virtual tokens before them, which have positions in the cache but are no tokens. */
  virtual = 0;
  /** Positions that the blocks hold; those after them are in a copy. */
  written = 0;
  /** Of a model with recurrent layers. */
  states: Snapshot[] = [];
  /** The last so many of its tokens are not in the cache, since the states that there are end before them: they are computed with the next. */
  owed = 0;
  adapter: Adapter | undefined;
  /** Its name in the blocks. */
  id: number;

  constructor(id: number) {
    this.id = id;
  }

  get length(): number {
    return this.tokens.length;
  }

  /** Positions that it has in the cache. */
  get stored(): number {
    return this.virtual + this.tokens.length - this.owed;
  }

  /** Another one with the first `length` tokens, the last `owed` of which are not in the cache; its name in the blocks is `id`. */
  fork(id: number, length: number, owed = 0): Sequence {
    const fork = new Sequence(id);
    fork.tokens = this.tokens.slice(0, length);
    fork.virtual = this.virtual;
    fork.adapter = this.adapter;
    fork.owed = owed;
    fork.written = fork.stored;
    return fork;
  }

  /** Begins behind the virtual tokens of an adapter, which are in the blocks of `id`. */
  begin(adapter: Adapter, id: number, virtual: number): void {
    Object.assign(this, { adapter, id, virtual, written: virtual });
  }
}

/** Whether a row's sequence begins with this row, and what its adapter puts before every sequence is not there yet. */
export const waitsForPrefix = ({ sequence, adapter }: ExtendRow<Sequence>): boolean =>
  sequence.virtual === 0 && sequence.length === 0 && (adapter.virtualTokens ?? 0) > 0;

/**
 * The sequence that has computed most of the first tokens (never all of them) as one with this adapter would, and how many.
 *
 * @param reach how far another one can go on from a sequence of which it has the first so many tokens: 0 where it cannot
 */
export function longestShared(
  sequences: readonly Sequence[],
  tokens: readonly number[],
  adapter: Adapter,
  reach: (sequence: Sequence, common: number) => number,
): { readonly best: Sequence | undefined; readonly shared: number } {
  let best: Sequence | undefined;
  let shared = 0;
  for (const other of sequences) {
    if (!other.adapter) continue;
    const untouched = Math.min(untouchedBy(other.adapter), untouchedBy(adapter));
    const most = sameCache(other.adapter, adapter) ? tokens.length : untouched;
    const alike = commonPrefix(other.tokens, tokens, Math.min(most, tokens.length - 1));
    const common = reach(other, alike);
    if (common > shared) [best, shared] = [other, common];
  }
  return { best, shared };
}

/** How many tokens, `most` at most, two sequences begin with alike. */
export function commonPrefix(a: readonly number[], b: readonly number[], most: number): number {
  const end = Math.min(a.length, most);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}
