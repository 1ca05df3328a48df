import {
  type Compiled,
  leavesOf,
  mapTree,
  type Tensor,
  type TypedArray,
  tensor,
  tensorElsewhere,
} from '@posttrain/core-tensor';
import type { Named, Optimizer } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import type { StateStore } from './state-store.js';
import type { Trained } from './trained-tensors.js';

/** One update of some parameters and their state, both donated. */
export type CompiledUpdate = Compiled<
  [trained: Trained, gradients: Named, factors: Named, learningRate: Tensor],
  { trained: Trained }
>;

/** Parameters that are updated together. */
interface Group {
  readonly names: readonly string[];
  readonly update: CompiledUpdate;
  /** Numbers of the store, by the paths of the state's tensors. */
  readonly slots: ReadonlyMap<string, number>;
  /** What was restored and is not in the store yet, by path; undefined: the store has it, or nothing was updated yet. */
  restored?: Map<string, Tensor>;
  /** Updates that the store has had: 0 before the first. */
  version: number;
}

/**
 * The state of an optimizer that is elsewhere between updates (`OffloadOptimizerOptions`): an update goes through groups of parameters,
 * reads the state of each, updates it by a function of its own, and writes it back. The tensors of the whole state (`saved`) read what
 * they are when they are asked, so that a checkpoint has one in memory at a time; after the next update they are no more, as donated
 * ones. What is restored stays in memory until the next update.
 *
 * An update that fails half-way leaves no state to go on with: everything after it throws `OFFLOAD`.
 */
export class OffloadedState {
  readonly #optimizer: Optimizer<object>;
  readonly #store: StateStore;
  readonly #groups: readonly Group[];
  /** Of the whole state: its form, and the group that has each tensor, by path. */
  readonly #form: object;
  readonly #owner: ReadonlyMap<string, Group>;
  #failed: unknown;

  constructor(
    optimizer: Optimizer<object>,
    parameters: Named,
    {
      store,
      subGroupSize,
      compileUpdate,
    }: { store: StateStore; subGroupSize: number; compileUpdate(): CompiledUpdate },
  ) {
    if (!optimizer.isPerParameter) {
      throw new PosttrainError(
        'OFFLOAD',
        `offloadOptimizer: ${optimizer.name} does not say that it updates every parameter by itself (isPerParameter); ` +
          'adamw_torch, adam, adamw_8bit, lion, sgd and adafactor do.',
      );
    }
    this.#optimizer = optimizer;
    this.#store = store;
    this.#form = optimizer.init(parameters);
    const owner = new Map<string, Group>();
    let slot = 0;
    this.#groups = groupsOf(parameters, subGroupSize).map((names): Group => {
      const paths = leavesOf(optimizer.init(pick(parameters, names))).map(({ path }) => path);
      const slots = new Map(paths.map((path) => [path, slot++]));
      const group = { names, slots, update: compileUpdate(), version: 0 };
      for (const path of paths) if (!owner.has(path)) owner.set(path, group);
      return group;
    });
    this.#owner = owner;
  }

  /** The whole state, in the form that it has where it is not elsewhere. Valid until the next update. */
  get saved(): object {
    this.#assertWhole();
    return mapTree(this.#form, (like, path) => this.#lookUp(this.#owner.get(path)!, like, path));
  }

  /** Takes tensors in the form of `saved`. */
  restore(state: object): void {
    const all = new Map(leavesOf(state).map(({ path, tensor: saved }) => [path, saved]));
    for (const group of this.#groups) {
      group.restored = new Map([...group.slots.keys()].map((path) => [path, all.get(path)!]));
    }
    this.#failed = undefined;
  }

  /** One update of all parameters, which are donated. @returns the new ones */
  async update(parameters: Named, gradients: Named, factors: Named, learningRate: Tensor): Promise<Named> {
    this.#assertWhole();
    const updated: Record<string, Tensor> = { ...parameters };
    try {
      await this.#copyShared();
      for (const group of this.#groups) {
        const own = pick(parameters, group.names);
        const before = { parameters: own, state: await this.#load(group, own) };
        const { trained } = await group.update(before, pick(gradients, group.names), factors, learningRate);
        Object.assign(updated, trained.parameters);
        await this.#keep(group, trained.state);
      }
    } catch (error) {
      this.#failed = error;
      throw error;
    }
    return updated;
  }

  /** What several groups have restored (the count of updates), read before the first of them has been updated. */
  async #copyShared(): Promise<void> {
    for (const group of this.#groups) {
      for (const [path, x] of group.restored ?? []) {
        if (this.#owner.get(path) !== group)
          group.restored!.set(path, tensor(narrow(await x.data()).slice(), x.shape, x.dtype));
      }
    }
  }

  /** The state of a group in memory of its own. */
  async #load(group: Group, parameters: Named): Promise<object> {
    const start = this.#optimizer.init(parameters);
    const arrays = new Map<string, TypedArray>();
    for (const [path, slot] of group.slots) {
      const restored = group.restored?.get(path);
      // A copy: what was restored is somebody's snapshot, perhaps of several trainers.
      if (restored) arrays.set(path, narrow(await restored.data()).slice());
      else if (group.version > 0) arrays.set(path, this.#store.read(slot));
    }
    return mapTree(start, (like, path) => {
      const array = arrays.get(path);
      return array ? tensor(array, like.shape, like.dtype) : like;
    });
  }

  async #keep(group: Group, state: object): Promise<void> {
    for (const { path, tensor: next } of leavesOf(state)) {
      await this.#store.write(group.slots.get(path)!, narrow(await next.data()));
      await next.dispose();
    }
    group.version++;
    delete group.restored;
  }

  #lookUp(group: Group, like: Tensor, path: string): Tensor {
    const restored = group.restored?.get(path);
    if (restored) return restored;
    const { version } = group;
    if (version === 0) return like;
    const read = () => {
      if (group.version === version && this.#failed === undefined) return this.#store.read(group.slots.get(path)!);
      throw new PosttrainError(
        'OFFLOAD',
        `${path} of the optimizer's state: an update has been made since; copy it before.`,
      );
    };
    return tensorElsewhere(read, like.shape, like.dtype);
  }

  #assertWhole(): void {
    if (this.#failed === undefined) return;
    throw new PosttrainError(
      'OFFLOAD',
      'an update failed half-way, so that parameters and states do not belong together: resume from the last checkpoint.',
      { cause: this.#failed },
    );
  }
}

/** Names in order, together as long as they have at most so many elements. */
function groupsOf(parameters: Named, largest: number): string[][] {
  const groups: string[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const [name, { size: own }] of Object.entries(parameters)) {
    if (size + own > largest) {
      groups.push([]);
      size = 0;
    }
    groups.at(-1)!.push(name);
    size += own;
  }
  return groups;
}

const pick = (named: Named, names: readonly string[]): Named =>
  Object.fromEntries(names.map((name) => [name, named[name]!]));

/** The reference engine computes in float64, which states are not kept in. */
const narrow = (data: TypedArray): TypedArray => (data instanceof Float64Array ? Float32Array.from(data) : data);
