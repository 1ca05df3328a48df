import { type Tensor, tensor, where } from '@posttrain/core-tensor';
import { type Adapter, NO_ADAPTER } from '../model/adapter.js';
import {
  applyLinear,
  type EmbeddingLayer,
  type LayerHooks,
  type LinearLayer,
  type NormLayer,
  type NormTensors,
  type Sublayer,
  type Weights,
} from '../model/layers.js';
import type { Network } from '../model/network.js';
import { refuseEarlierPass } from '../model/prefix.js';
import type { LowRankStack } from './low-rank-stack.js';

// Rows with different adapters in one pass, as S-LoRA (arXiv 2311.03285) and Punica (arXiv 2310.18547) do it: what the base
// computes is computed once for all rows, and every adapter adds its own part. Low-rank updates are computed for all rows
// at once, and each row keeps what is its adapter's. Any other adapter computes its layers for all rows, and its own keep it.
// So the graph does not depend on which rows they are. Virtual tokens and prefixes are in the cache of each row, not here.

/** An adapter that is not in the stack. */
export interface OtherAdapter extends Pick<Adapter, 'hooks' | 'parameters'> {
  /** What `rows` call it. */
  readonly index: number;
}

interface MixedParameters {
  /** int32 [b]: the index of each row's adapter, -1 for the base model. */
  readonly rows: Tensor;
  readonly stack: LowRankStack;
  readonly others: readonly Omit<OtherAdapter, 'hooks'>[];
}

/**
 * Adapters as one, for a pass over a batch in which row i has the adapter with the index `rows[i]` in the stack or among
 * the others, or none where that is -1. Others with the same hooks in the same order have the same hooks, so that they
 * are compiled once.
 */
export function mixAdapters(
  stack: LowRankStack,
  others: readonly OtherAdapter[],
  rows: Int32Array,
  /** Names of all row inputs that the others read. */
  inputs: readonly string[],
): Adapter<MixedParameters> {
  return {
    name: 'several adapters',
    // The rows have theirs already.
    ...(inputs.length > 0 && { rowInputs: { names: inputs, of: () => ({}) } }),
    parameters: {
      rows: tensor(rows, [rows.length], 'int32'),
      stack,
      others: others.map(({ index, parameters }) => ({ index, parameters })),
    },
    hooks: hooksOfList(others.map(({ hooks }) => hooks)),
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
  place.hooks ??= ({ rows, stack, others }) =>
    new MixedHooks(
      rows,
      stack,
      others.map(({ index, parameters }, i) => ({ index, hooks: list[i]!(parameters) })),
    );
  return place.hooks;
}

class MixedHooks implements LayerHooks {
  readonly #rows: Tensor;
  readonly #stack: LowRankStack;
  readonly #others: readonly { readonly index: number; readonly hooks: LayerHooks }[];
  readonly #masks = new Map<string, Tensor>();

  constructor(
    rows: Tensor,
    stack: LowRankStack,
    others: readonly { readonly index: number; readonly hooks: LayerHooks }[],
  ) {
    for (const { hooks } of others) refuseEarlierPass(hooks);
    this.#rows = rows;
    this.#stack = stack;
    this.#others = others;
  }

  readonly linear = (x: Tensor, layer: LinearLayer): Tensor => {
    const once = { ...layer, apply: memoized(layer.apply) };
    const base = once.apply(x);
    const update = this.#stack.updates[layer.name];
    const others = this.#changes(base, (hooks) => hooks.linear?.(x, once));
    if (!update) return this.#select(this.#rowsOf(layer), base, others);
    const narrow = where(this.#maskOf(layer, update.owner, x.rank), applyLinear(x, update.a, undefined, false), 0);
    return this.#select(this.#rowsOf(layer), base.add(applyLinear(narrow, update.b, undefined, false)), others);
  };

  readonly embedding = (tokens: Tensor, layer: EmbeddingLayer): Tensor => {
    const once = { ...layer, apply: memoized(layer.apply) };
    const base = once.apply(tokens);
    return this.#select(
      this.#rows,
      base,
      this.#changes(base, (hooks) => hooks.embedding?.(tokens, once)),
    );
  };

  readonly norm = (x: Tensor, layer: NormLayer): Tensor => {
    const base = layer.apply(x);
    // The base's own result for who asks for it, so that it is computed once.
    const once = {
      ...layer,
      apply: (input: Tensor, own?: NormTensors) => (own || input !== x ? layer.apply(input, own) : base),
    };
    return this.#select(
      this.#rows,
      base,
      this.#changes(base, (hooks) => hooks.norm?.(x, once)),
    );
  };

  readonly sublayer = (output: Tensor, place: Sublayer): Tensor =>
    this.#select(
      this.#rows,
      output,
      this.#changes(output, (hooks) => hooks.sublayer?.(output, place)),
    );

  /** See `logitsOfRows`. */
  logits(network: Network, weights: Weights, hidden: Tensor, tokens: Tensor, at: Tensor | undefined): Tensor {
    const [b, s] = tokens.shape as [number, number];
    const everywhere = this.#rows
      .reshape([b, 1])
      .broadcastTo([b, s])
      .reshape([b * s]);
    const base = network.logits(weights, hidden);
    const others = this.#changes(base, (hooks) => {
      const layer = network.outputLayer(weights, hidden, hooks);
      return layer.isBase ? base : layer.logits();
    });
    return this.#select(at ? everywhere.gather(at) : everywhere, base, others);
  }

  /** What the others give; those that give nothing, or the base's own, cost nothing. */
  #changes(base: Tensor, of: (hooks: LayerHooks) => Tensor | undefined) {
    return this.#others.flatMap(({ index, hooks }) => {
      const changed = of(hooks);
      return changed && changed !== base ? [{ index, changed }] : [];
    });
  }

  #select(
    rows: Tensor,
    otherwise: Tensor,
    changes: readonly { readonly index: number; readonly changed: Tensor }[],
  ): Tensor {
    const shape = [rows.size, ...otherwise.shape.slice(1).map(() => 1)];
    return changes.reduce(
      (all, { index, changed }) => where(rows.equal(index).reshape(shape), changed, all),
      otherwise,
    );
  }

  #rowsOf(layer: LinearLayer): Tensor {
    return layer.rows ? this.#rows.gather(layer.rows) : this.#rows;
  }

  /** Which part of a stack is whose, for x of so many axes: [b, 1, …, R]. */
  #maskOf(layer: LinearLayer, owner: number, rank: number): Tensor {
    const make = () => {
      const [rows, owners] = [this.#rowsOf(layer), this.#stack.owners[owner]!];
      const between = Array.from({ length: rank - 1 }, () => 1);
      return rows.reshape([rows.size, ...between]).equal(owners.reshape([1, ...between.slice(1), owners.size]));
    };
    if (layer.rows) return make();
    const key = `${owner} ${rank}`;
    const mask = this.#masks.get(key) ?? make();
    this.#masks.set(key, mask);
    return mask;
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
