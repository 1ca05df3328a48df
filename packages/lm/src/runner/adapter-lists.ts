import { type Engine, leavesOf, mapTree, realize, zerosBuffer } from '@posttrain/core-tensor';
import { type Adapter, sameAdapter, type WeightedNetwork } from '../model/adapter.js';
import { stackLowRank } from './low-rank-stack.js';
import { isBase, mixAdapters } from './mixed-adapters.js';

/** Adapters that one pass computes. */
const MOST_ADAPTERS = 8;

/** A place in a list. */
interface Place {
  readonly hooks: Adapter['hooks'];
  readonly lowRank: Adapter['lowRank'];
  readonly derived: Adapter['derived'];
  readonly rowInputs: readonly string[];
  /** Who has it now. Not kept longer than it is used: its numbers may be given away. */
  adapter: Adapter | undefined;
  /** Parameters for when nobody has it. */
  idle: unknown;
  lastUsed: number;
}

/** Parameters, and what is made of them and of the model. */
interface Numbers {
  readonly derived?: Adapter['derived'] | undefined;
  readonly parameters: unknown;
}

interface List {
  readonly places: Place[];
  stacked?: Stacked;
}

interface Stacked extends Awaited<ReturnType<typeof stackLowRank>> {
  /** What it was made from, by place. Weak: the stack has the numbers in memory of its own. */
  readonly from: readonly WeakRef<object>[];
}

/**
 * LRU slots of adapters in one compiled pass (S-LoRA, arXiv 2311.03285). A pass computes every adapter of its list, whichever
 * of them have rows, because the compiled graph depends on who is in it. An adapter keeps its slot; a new one reuses the slot of
 * one with the same hooks, takes a free slot, or evicts the least recently used. There are as many lists as it takes for all
 * adapters of a step.
 */
export class AdapterLists {
  /** Whether every adapter has a pass of its own. */
  areApart = false;
  readonly #lists: List[] = [];
  readonly #engine: Engine;
  readonly #base: () => WeightedNetwork;
  /** By parameters, which others hold. */
  #derived = new WeakMap<object, Map<Adapter['derived'], Promise<unknown>>>();
  /** LRU of what is derived, the last used first: as many as a pass has adapters, since each may be as large as the model. */
  #recent: readonly WeakRef<object>[] = [];
  #now = 0;

  /** `base`: the model with the weights of now; see `reset`. */
  constructor(base: () => WeightedNetwork) {
    this.#base = base;
    this.#engine = base().network.engine;
  }

  /** To be called when the model has other weights. */
  reset(): void {
    this.#derived = new WeakMap();
  }

  /** Lets go of the numbers of an adapter that will not come again, and of what was made of them. */
  forget(adapter: Adapter): void {
    this.#derived.delete(adapter.parameters as object);
    for (const place of this.#lists.flatMap((list) => list.places)) if (isAt(place, adapter)) vacate(place);
  }

  /** The rows of each pass, if all of them fit into one, for rows with these adapters. Places hold until the next call. */
  groups(adapters: readonly Adapter[]): number[][] {
    const distinct = distinctAdapters(adapters);
    const all = adapters.map((_, i) => i);
    const rowsOf = (adapter: Adapter) => all.filter((i) => sameAdapter(adapter, adapters[i]!));
    if (distinct.length <= 1 || this.areApart) return distinct.map(rowsOf);
    // What runs twice shares no pass.
    const twice = distinct.filter(({ earlierPass }) => earlierPass);
    if (twice.length > 0) {
      const rest = all.filter((i) => !adapters[i]!.earlierPass);
      const groups = this.groups(rest.map((i) => adapters[i]!)).map((group) => group.map((i) => rest[i]!));
      return [...groups, ...twice.map(rowsOf)];
    }
    this.#place(distinct.filter((adapter) => !isBase(adapter)));
    const used = this.#lists.filter(({ places }) => places.some(({ adapter }) => adapter));
    const isOf = (list: List, adapter: Adapter) => (isBase(adapter) ? list === used[0] : placeIn(list, adapter) >= 0);
    return used.map((list) => all.filter((i) => isOf(list, adapters[i]!)));
  }

  /** The adapter of a pass of `count` rows, where those that are of use are at `at` and have these adapters. */
  async mixed(adapters: readonly Adapter[], at: readonly number[], count: number): Promise<Adapter> {
    const [first] = adapters as [Adapter];
    if (adapters.every((adapter) => sameAdapter(adapter, first))) {
      return first.derived ? { ...first, parameters: await this.#derivedOf(first) } : first;
    }
    const one = adapters.find((adapter) => !isBase(adapter))!;
    const list = this.#lists.find((list) => placeIn(list, one) >= 0)!;
    const rows = new Int32Array(count).fill(-1);
    for (const [i, row] of at.entries()) rows[row] = placeIn(list, adapters[i]!);
    const { stack, isStacked } = await stackOf(list, this.#engine);
    const apart = list.places.flatMap((place, index) => (isStacked[index] ? [] : [{ index, place }]));
    const others = await Promise.all(
      apart.map(async ({ index, place }) => {
        const { hooks, derived } = place;
        const own = { parameters: parametersOf(place), ...(derived && { derived }) };
        return { index, hooks, parameters: await this.#derivedOf(own) };
      }),
    );
    const inputs = new Set(list.places.flatMap((place, index) => (isStacked[index] ? [] : place.rowInputs)));
    return mixAdapters(stack, others, rows, [...inputs].sort());
  }

  /** `Adapter.derived` of these numbers, computed once and kept for those used last. */
  #derivedOf({ derived, parameters }: Numbers): Promise<unknown> {
    if (!derived) return Promise.resolve(parameters);
    const known = this.#derived.get(parameters as object) ?? new Map<Adapter['derived'], Promise<unknown>>();
    this.#derived.set(parameters as object, known);
    const others = this.#recent.filter((one) => ![parameters, undefined].includes(one.deref()));
    this.#recent = [new WeakRef(parameters as object), ...others];
    const oldest = this.#recent[MOST_ADAPTERS]?.deref();
    if (oldest) this.#derived.delete(oldest);
    this.#recent = this.#recent.slice(0, MOST_ADAPTERS);
    const made = known.get(derived) ?? this.#computed(derived(parameters, this.#base()) as object);
    known.set(derived, made);
    made.catch(() => known.delete(derived));
    return made;
  }

  async #computed(tree: object): Promise<object> {
    const tensors = leavesOf(tree).map(({ tensor }) => tensor);
    await realize(tensors, { engine: this.#engine });
    return tree;
  }

  #place(adapters: readonly Adapter[]): void {
    const now = ++this.#now;
    const places = this.#lists.flatMap((list) => list.places);
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
      const { hooks, lowRank, derived } = adapter;
      const rowInputs = adapter.rowInputs?.names ?? [];
      const place: Place = { hooks, lowRank, derived, rowInputs, adapter, idle: undefined, lastUsed: now };
      const roomy = this.#lists.find((list) => list.places.length < MOST_ADAPTERS);
      const [oldest] = free().sort((a, b) => a.lastUsed - b.lastUsed);
      if (roomy) roomy.places.push(place);
      else if (oldest) Object.assign(oldest, place);
      else this.#lists.push({ places: [place] });
    }
    for (const place of free()) vacate(place);
  }
}

/** Each adapter once. */
export function distinctAdapters(adapters: readonly Adapter[]): Adapter[] {
  const distinct: Adapter[] = [];
  for (const adapter of adapters) if (!distinct.some((other) => sameAdapter(other, adapter))) distinct.push(adapter);
  return distinct;
}

/** Leaves a place to whoever comes, with zeros until then. */
function vacate(place: Place): void {
  if (place.adapter) place.idle ??= mapTree(place.adapter.parameters, ({ shape, dtype }) => zerosBuffer(shape, dtype));
  place.adapter = undefined;
}

const isAt = (place: Place, adapter: Adapter): boolean =>
  place.adapter !== undefined && sameAdapter(place.adapter, adapter);

const placeIn = (list: List, adapter: Adapter): number => list.places.findIndex((place) => isAt(place, adapter));

const parametersOf = ({ adapter, idle }: Place): unknown => (adapter ? adapter.parameters : idle);

/** The stack of a list, made again when somebody who is there has other numbers than it was made from. */
async function stackOf(list: List, engine: Engine): Promise<Stacked> {
  const { places, stacked } = list;
  const isUpToDate = ({ adapter, lowRank }: Place, i: number) => {
    const from = stacked?.from[i];
    const concerns = adapter && (lowRank || stacked?.isStacked[i]);
    return from && (!concerns || from.deref() === adapter.parameters);
  };
  if (stacked && places.every(isUpToDate)) return stacked;
  const from = places.map((place) => new WeakRef(parametersOf(place) as object));
  const updates = places.map((place) => place.lowRank?.(parametersOf(place)));
  list.stacked = { ...(await stackLowRank(updates, engine)), from };
  return list.stacked;
}
