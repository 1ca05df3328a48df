import { compile, concat, perEngine, zeros } from '@posttrain/core-tensor';
import type { Network } from '../model/network.js';
import { type LayerState, sizeOf } from '../model/recurrence/layer-state.js';
import { statePools } from '../model/recurrence/state-cache.js';
import { roundUpToPowerOfTwo } from '../model/sizes.js';

/** The state of a sequence after its first `length` positions, virtual ones included. */
export interface Snapshot {
  readonly length: number;
  /** Where in the pools it is. */
  readonly slot: number;
  /** Whether it stays when the sequence goes on: others may begin there, or this one go back to it. */
  readonly isKept: boolean;
}

/** What has states: a sequence. */
export interface StateHolder {
  /** By length, the last being that of now. None: the sequence is empty. */
  states: Snapshot[];
  /** Positions before the first token. */
  readonly virtual: number;
}

/** States are kept at multiples of so many tokens, where prompts that begin alike meet. */
export const STATE_STEP = 256;

const FIRST_SLOTS = 8;
/** What states take when nobody needs them. */
const KEPT_BYTES = 2 ** 30;
/** States of a sequence that are kept beside that of now. */
const MOST_KEPT = 6;

/**
 * The states of recurrent layers, which are of whole sequences and not of tokens: each sequence has that of now, which a token writes over, and a few
 * of before (at the end of every piece of more than one token and at multiples of `STATE_STEP`), from which forks and shortened sequences go on. A
 * state that several sequences have is written by none of them. Slot 0 is nobody's: padding writes there.
 */
export class StateStore {
  readonly #network: Network;
  #pools: readonly LayerState[] | undefined;
  #slots = FIRST_SLOTS;
  #free: number[] = [];
  readonly #holders = new Map<number, number>();

  constructor(network: Network) {
    this.#network = network;
    this.#addFree(1);
  }

  /** Whether the model has recurrent layers. */
  get isUsed(): boolean {
    return this.#network.stateShapes.length > 0;
  }

  /** The pools, by layer: made when they are first asked for, and set to what each pass that they were donated to has given. */
  get pools(): readonly LayerState[] {
    this.#pools ??= this.#network.stateShapes.map((shape) => statePools(shape, this.#slots));
    return this.#pools;
  }

  set pools(pools: readonly LayerState[]) {
    this.#pools = pools;
  }

  /** States that are held. */
  get held(): number {
    return this.#holders.size;
  }

  /** States that may be kept where nobody needs them now. */
  get most(): number {
    const bytes = this.#network.stateShapes.reduce(
      (sum, shape) => sum + Object.values(shape).reduce((inner, own) => inner + 4 * sizeOf(own), 0),
      0,
    );
    return Math.max(FIRST_SLOTS, Math.floor(KEPT_BYTES / Math.max(1, bytes)));
  }

  /** Makes room for so many more states. */
  async makeRoom(count: number): Promise<void> {
    if (this.#free.length >= count) return;
    const before = this.#slots;
    const added = roundUpToPowerOfTwo(before + count - this.#free.length) - before;
    const { pools } = await growStates(this.#network).grow({ pools: this.pools }, added);
    this.#pools = pools;
    this.#slots += added;
    this.#addFree(before);
  }

  /** The last state of a holder that is of no more than `length` positions; undefined for none. */
  static at({ states }: StateHolder, length: number): Snapshot | undefined {
    return states.findLast((state) => state.length <= length);
  }

  /** Lets `to` have the states of `from` up to `length` positions, too. */
  share(from: StateHolder, to: StateHolder, length: number): void {
    to.states = from.states.filter((state) => state.length <= length);
    for (const { slot } of to.states) this.#hold(slot);
  }

  /** Lets go of the states after the first `length` positions. */
  truncate(holder: StateHolder, length: number): void {
    for (const state of holder.states) if (state.length > length) this.#release(state.slot);
    holder.states = holder.states.filter((state) => state.length <= length);
  }

  /** Lets go of everything. */
  free(holder: StateHolder): void {
    this.truncate(holder, -1);
  }

  /** Where a pass finds a holder's state, and where it writes that of `count` tokens later. Room must have been made. */
  advance(holder: StateHolder, length: number, count: number): { readonly from: number; readonly to: number } {
    const now = holder.states.at(-1);
    const isOwn = now && count === 1 && !now.isKept && this.#holders.get(now.slot) === 1;
    const to = isOwn ? now.slot : this.#free.pop()!;
    if (!isOwn) this.#hold(to);
    if (isOwn) holder.states = holder.states.slice(0, -1);
    else if (now && !now.isKept) this.#drop(holder, now);
    holder.states = [...holder.states, { length, slot: to, isKept: count > 1 || length % STATE_STEP === 0 }];
    while (holder.states.length > MOST_KEPT + 1) this.#thin(holder);
    return { from: now?.slot ?? 0, to };
  }

  /** A new state of a holder that has none, of `length` positions that were written to it otherwise: its slot. */
  begin(holder: StateHolder, length: number): number {
    const slot = this.#free.pop()!;
    this.#hold(slot);
    holder.states = [{ length, slot, isKept: true }];
    return slot;
  }

  /** Lets go of one state of a holder before that of now, where some may go; gives whether it did. */
  forgetOne(holder: StateHolder): boolean {
    const [oldest] = holder.states.slice(0, -1).filter(({ length }) => length > holder.virtual);
    if (oldest) this.#drop(holder, oldest);
    return oldest !== undefined;
  }

  /** Lets go of the state whose loss leaves the smallest gap; never of those of now and of before, nor of virtual tokens. */
  #thin(holder: StateHolder): void {
    const { states, virtual } = holder;
    const gapAt = (i: number) => states[i + 1]!.length - (states[i - 1]?.length ?? 0);
    const mayGo = (i: number) => i < states.length - 2 && (states[i]!.length > virtual || virtual === 0);
    const [least] = [...states.keys()].filter(mayGo).sort((a, b) => gapAt(a) - gapAt(b));
    this.#drop(holder, states[least!]!);
  }

  #drop(holder: StateHolder, state: Snapshot): void {
    holder.states = holder.states.filter((other) => other !== state);
    this.#release(state.slot);
  }

  #hold(slot: number): void {
    this.#holders.set(slot, (this.#holders.get(slot) ?? 0) + 1);
  }

  #release(slot: number): void {
    const left = this.#holders.get(slot)! - 1;
    if (left > 0) this.#holders.set(slot, left);
    else {
      this.#holders.delete(slot);
      this.#free.push(slot);
    }
  }

  #addFree(from: number): void {
    this.#free.unshift(...Array.from({ length: this.#slots - from }, (_, i) => this.#slots - 1 - i));
  }
}

const growStates = (network: Network) => growing(network.engine);

const growing = perEngine(() => ({
  /** The pools with room for so many states more. */
  grow: compile(
    ({ pools }: { readonly pools: readonly LayerState[] }, slots: number) => ({
      pools: pools.map((pool) =>
        Object.fromEntries(
          Object.entries(pool).map(([name, x]) => [name, concat([x, zeros([slots, x.shape[1]!], x.dtype)], 0)]),
        ),
      ),
    }),
    { name: 'growStates' },
  ),
}));
