import type { LayerHooks } from './layers.js';
import type { Network } from './network.js';

/**
 * Trained tensors that change what a model computes without changing its weights. `hooks` must be one function for
 * the life of the adapter: what is compiled for it is kept under its identity, while `parameters` may be replaced at
 * every step. It is called without `this`.
 */
export interface Adapter<Parameters = unknown> {
  readonly name: string;
  /** A tree of tensors. */
  readonly parameters: Parameters;
  hooks(parameters: Parameters): LayerHooks;
}

/** What "no adapter" is: the base model. */
export const NO_ADAPTER: Adapter<Readonly<Record<string, never>>> = { name: 'base', parameters: {}, hooks: () => ({}) };

/** The same adapter with other numbers, as training makes them. */
export const withParameters = <Parameters>(
  adapter: Adapter<Parameters>,
  parameters: Parameters,
): Adapter<Parameters> => ({
  name: adapter.name,
  parameters,
  hooks: adapter.hooks,
});

/** Whether two adapters compute the same: one function with the same numbers. */
export const sameAdapter = (a: Adapter, b: Adapter): boolean =>
  a === b || (a.hooks === b.hooks && a.parameters === b.parameters);

/** Keeps what `make` gives for a network and an adapter's hooks: it is traced once, whatever the adapter's numbers. */
export function perAdapter<T>(make: (network: Network, adapter: Adapter) => T): typeof make {
  const byNetwork = new WeakMap<Network, WeakMap<Adapter['hooks'], T>>();
  return (network, adapter) => {
    const byHooks = byNetwork.get(network) ?? new WeakMap<Adapter['hooks'], T>();
    byNetwork.set(network, byHooks);
    const made = byHooks.get(adapter.hooks) ?? make(network, adapter);
    byHooks.set(adapter.hooks, made);
    return made;
  };
}
