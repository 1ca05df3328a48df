import { type Tensor, tensor, where } from '@posttrain/core-tensor';
import { type Adapter, NO_ADAPTER } from './adapter.js';
import type { EmbeddingLayer, LayerHooks, LinearLayer, Weights } from './layers.js';
import type { Network } from './network.js';

// Rows with different adapters in one pass, as S-LoRA (arXiv 2311.03285) and Punica (arXiv 2310.18547) do it: what the base
// computes is computed once for all rows, and every adapter adds its own part. It is added for all rows and kept for the
// adapter's own, so that the graph does not depend on which rows those are.

interface MixedParameters {
  /** int32 [b]: which of the adapters each row of the batch has, -1 for the base model. */
  readonly rows: Tensor;
  readonly adapters: readonly unknown[];
}

/**
 * Adapters as one, for a pass over a batch in which row i has `adapters[rows[i]]`, or none where `rows[i]` is -1. Lists
 * of the same hooks in the same order have the same hooks, so that they are compiled once.
 */
export function mixAdapters(
  adapters: readonly Pick<Adapter, 'hooks' | 'parameters'>[],
  rows: Int32Array,
): Adapter<MixedParameters> {
  return {
    name: 'several adapters',
    parameters: { rows: tensor(rows, [rows.length], 'int32'), adapters: adapters.map(({ parameters }) => parameters) },
    hooks: hooksOfList(adapters.map(({ hooks }) => hooks)),
  };
}

type Hooks = Adapter['hooks'];

/** Lists of hooks that begin alike. */
interface Lists {
  readonly next: WeakMap<Hooks, Lists>;
  hooks?: Adapter<MixedParameters>['hooks'];
}

const lists: Lists = { next: new WeakMap() };

function hooksOfList(list: readonly Hooks[]): Adapter<MixedParameters>['hooks'] {
  const place = list.reduce((node, hooks) => {
    const next = node.next.get(hooks) ?? { next: new WeakMap() };
    node.next.set(hooks, next);
    return next;
  }, lists);
  place.hooks ??= ({ rows, adapters }) =>
    new MixedHooks(
      rows,
      list.map((hooks, i) => hooks(adapters[i])),
    );
  return place.hooks;
}

class MixedHooks implements LayerHooks {
  readonly #rows: Tensor;
  readonly #all: readonly LayerHooks[];

  constructor(rows: Tensor, all: readonly LayerHooks[]) {
    this.#rows = rows;
    this.#all = all;
  }

  readonly linear = (x: Tensor, layer: LinearLayer): Tensor => {
    const once = { ...layer, apply: memoized(layer.apply) };
    const rows = layer.rows ? this.#rows.gather(layer.rows) : this.#rows;
    return this.#select(rows, once.apply(x), (hooks) => hooks.linear?.(x, once));
  };

  readonly embedding = (tokens: Tensor, layer: EmbeddingLayer): Tensor => {
    const once = { ...layer, apply: memoized(layer.apply) };
    return this.#select(this.#rows, once.apply(tokens), (hooks) => hooks.embedding?.(tokens, once));
  };

  /** See `logitsOfRows`. */
  logits(network: Network, weights: Weights, hidden: Tensor, tokens: Tensor, at: Tensor | undefined): Tensor {
    const [b, s] = tokens.shape as [number, number];
    const everywhere = this.#rows
      .reshape([b, 1])
      .broadcastTo([b, s])
      .reshape([b * s]);
    const base = network.head(weights);
    return this.#select(at ? everywhere.gather(at) : everywhere, network.logits(weights, hidden), (hooks) =>
      network.head(weights, hooks) === base ? undefined : network.logits(weights, hidden, hooks),
    );
  }

  /** What each row of the first axis has by its adapter; an adapter that gives nothing, or the base's own, costs nothing. */
  #select(rows: Tensor, base: Tensor, of: (hooks: LayerHooks) => Tensor | undefined): Tensor {
    const mask = [rows.size, ...base.shape.slice(1).map(() => 1)];
    return this.#all.reduce((all, hooks, i) => {
      const own = of(hooks);
      return own && own !== base ? where(rows.equal(i).reshape(mask), own, all) : all;
    }, base);
  }
}

/**
 * `Network.logits` of final hidden states [n, width] of a pass over tokens int32 [b, s]: of all b · s in order, or of those
 * `at` int32 [n]. A mix of adapters has no one output layer; here every position has its row's.
 */
export function logitsOfRows(
  network: Network,
  weights: Weights,
  hidden: Tensor,
  hooks: LayerHooks,
  { tokens, rows: at }: { readonly tokens: Tensor; readonly rows?: Tensor },
): Tensor {
  return hooks instanceof MixedHooks
    ? hooks.logits(network, weights, hidden, tokens, at)
    : network.logits(weights, hidden, hooks);
}

/** Gives the same tensor for the same tensor. */
function memoized(f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  const known = new Map<Tensor, Tensor>();
  return (x) => {
    const y = known.get(x) ?? f(x);
    known.set(x, y);
    return y;
  };
}

export const isBase = ({ hooks }: Adapter): boolean => hooks === NO_ADAPTER.hooks;
