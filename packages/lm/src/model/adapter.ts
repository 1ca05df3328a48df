import { type Engine, type Tensor, withEngine } from '@posttrain/core-tensor';
import type { LayerHooks } from './layers.js';
import type { Network } from './network.js';

/** A change of a linear layer: y = W x + bias + scale · B A x. */
export interface LowRankUpdate {
  /** A [r, in]. */
  readonly a: Tensor;
  /** B [out, r]. */
  readonly b: Tensor;
  readonly scale: number;
}

/**
 * Trained tensors that change what a model computes without changing its weights. `hooks` must be one function for
 * the life of the adapter: what is compiled for it is kept under its identity, while `parameters` may be replaced at
 * every step. It is called without `this`.
 */
export interface Adapter<Parameters = unknown> {
  readonly name: string;
  /** A tree of tensors. */
  readonly parameters: Parameters;
  /** Positions that `LayerHooks.virtualTokens` or `prefix` take before every sequence. Left out: none. */
  readonly virtualTokens?: number;
  hooks(parameters: Parameters): LayerHooks;
  /**
   * What `hooks` does, as updates of linear layers by their module paths, where that is all it does: rows with several
   * such adapters share two products a layer, however many adapters there are.
   */
  lowRank?(parameters: Parameters): Readonly<Record<string, LowRankUpdate>>;
}

/** What "no adapter" is: the base model. */
export const NO_ADAPTER: Adapter<Readonly<Record<string, never>>> = { name: 'base', parameters: {}, hooks: () => ({}) };

/** The same adapter with other numbers, as training makes them. */
export const withParameters = <A extends Adapter>(adapter: A, parameters: A['parameters']): A => ({
  ...adapter,
  parameters,
});

/** Tokens that a sequence may have: the model's context without the positions that the adapter's virtual tokens take. */
export const contextOf = (
  { maxPositionEmbeddings }: { readonly maxPositionEmbeddings: number },
  adapter: Pick<Adapter, 'virtualTokens'> | undefined,
): number => maxPositionEmbeddings - (adapter?.virtualTokens ?? 0);

/** Whether two adapters compute the same: one function with the same numbers. */
export const sameAdapter = (a: Adapter, b: Adapter): boolean =>
  a === b || (a.hooks === b.hooks && a.parameters === b.parameters);

/**
 * Keeps what `make` gives for a network and an adapter's hooks, compiled for the network's engine: it is traced once, whatever
 * the adapter's numbers.
 */
export function perAdapter<T, N extends { readonly engine: Engine } = Network>(
  make: (network: N, adapter: Adapter) => T,
): typeof make {
  const byNetwork = new WeakMap<N, WeakMap<Adapter['hooks'], T>>();
  return (network, adapter) => {
    const byHooks = byNetwork.get(network) ?? new WeakMap<Adapter['hooks'], T>();
    byNetwork.set(network, byHooks);
    const made = byHooks.get(adapter.hooks) ?? withEngine(network.engine, () => make(network, adapter));
    byHooks.set(adapter.hooks, made);
    return made;
  };
}
