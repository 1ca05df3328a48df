import { mapTree, zerosBuffer } from '@posttrain/core-tensor';
import { type Adapter, sameAdapter } from '../model/adapter.js';
import { isBase, mixAdapters } from '../model/mixed-adapters.js';

/** Adapters that one pass computes. */
const MOST_ADAPTERS = 8;

/** A place in a list. */
interface Place {
  hooks: Adapter['hooks'];
  /** Who has it now. Not kept longer than it is used: its numbers may be given away. */
  adapter: Adapter | undefined;
  /** Parameters for when nobody has it. */
  idle: unknown;
  lastUsed: number;
}

/**
 * Lists of adapters that are computed in one pass. A pass computes all of a list, whoever of it has rows, because every
 * list is compiled for itself. An adapter keeps its place; a newcomer has that of one with the same hooks, a new place, or
 * that of whoever has not been used for longest. There are as many lists as it takes for all that are used at once.
 */
export class AdapterLists {
  readonly #lists: Place[][] = [];
  #now = 0;

  /** The rows of each pass, if all of them fit into one, for rows with these adapters. Places hold until the next call. */
  groups(adapters: readonly Adapter[]): number[][] {
    const distinct: Adapter[] = [];
    for (const adapter of adapters) if (!distinct.some((other) => sameAdapter(other, adapter))) distinct.push(adapter);
    const all = adapters.map((_, i) => i);
    if (distinct.length <= 1) return all.length > 0 ? [all] : [];
    this.#place(distinct.filter((adapter) => !isBase(adapter)));
    const used = this.#lists.filter((list) => list.some((place) => place.adapter));
    const isOf = (list: readonly Place[], adapter: Adapter) =>
      isBase(adapter) ? list === used[0] : at(list, adapter) >= 0;
    return used.map((list) => all.filter((i) => isOf(list, adapters[i]!)));
  }

  /** The adapter of a pass of `count` rows, where those that are of use are at `places` and have these adapters. */
  mixed(adapters: readonly Adapter[], places: readonly number[], count: number): Adapter {
    const [first] = adapters as [Adapter];
    if (adapters.every((adapter) => sameAdapter(adapter, first))) return first;
    const one = adapters.find((adapter) => !isBase(adapter))!;
    const list = this.#lists.find((list) => at(list, one) >= 0)!;
    const rows = new Int32Array(count).fill(-1);
    for (const [i, place] of places.entries()) rows[place] = at(list, adapters[i]!);
    const all = list.map(({ hooks, adapter, idle }) => ({ hooks, parameters: adapter ? adapter.parameters : idle }));
    return mixAdapters(all, rows);
  }

  #place(adapters: readonly Adapter[]): void {
    const now = ++this.#now;
    const places = this.#lists.flat();
    const free = () => places.filter(({ lastUsed }) => lastUsed < now);
    const unplaced = (rest: readonly Adapter[], placeOf: (adapter: Adapter) => Place | undefined) =>
      rest.filter((adapter) => {
        const place = placeOf(adapter);
        if (place) Object.assign(place, { adapter, lastUsed: now });
        return !place;
      });
    const newcomers = unplaced(adapters, (adapter) => places.find((place) => isAt(place, adapter)));
    // Who has hooks that are compiled goes first, so that nobody else takes the place.
    const strangers = unplaced(newcomers, ({ hooks }) => free().find((place) => place.hooks === hooks));
    for (const adapter of strangers) {
      const place: Place = { hooks: adapter.hooks, adapter, idle: undefined, lastUsed: now };
      const roomy = this.#lists.find((list) => list.length < MOST_ADAPTERS);
      const [oldest] = free().sort((a, b) => a.lastUsed - b.lastUsed);
      if (roomy) roomy.push(place);
      else if (oldest) Object.assign(oldest, place);
      else this.#lists.push([place]);
    }
    for (const place of free()) {
      if (place.adapter)
        place.idle ??= mapTree(place.adapter.parameters, ({ shape, dtype }) => zerosBuffer(shape, dtype));
      place.adapter = undefined;
    }
  }
}

const isAt = (place: Place, adapter: Adapter): boolean =>
  place.adapter !== undefined && sameAdapter(place.adapter, adapter);

const at = (list: readonly Place[], adapter: Adapter): number => list.findIndex((place) => isAt(place, adapter));
