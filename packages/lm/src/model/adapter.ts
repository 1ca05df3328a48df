import { type Engine, type Tensor, tensor, withEngine } from '@posttrain/core-tensor';
import { PosttrainError, showValue } from '@posttrain/interfaces';
import type { LayerHooks, Weights } from './layers.js';
import type { Network } from './network.js';

/** A change of a linear layer: y = W x + bias + scale · B A x. */
export interface LowRankUpdate {
  /** A [r, in]. */
  readonly a: Tensor;
  /** B [out, r]. */
  readonly b: Tensor;
  readonly scale: number;
}

/** Whole numbers (int32) that say something of a sequence, by name: which task it is of, where an adapter begins to act. */
export type RowInputs = Readonly<Record<string, number>>;

/** What the hooks of an adapter read of every sequence beside its tokens. They are inputs of the graph, never constants in it. */
export interface RowInputsSpec {
  readonly names: readonly string[];
  /**
   * All of them, for a sequence that is or begins with these tokens.
   *
   * @param given what the caller says of the sequence
   * @throws PosttrainError for what cannot be, or is missing
   */
  of(tokens: readonly number[], given: RowInputs): RowInputs;
  /**
   * Why a training row that is or begins with these tokens would train nothing that nobody has asked for; undefined where it
   * trains, or `given` says that it shall not. Left out: every row trains.
   */
  idle?(tokens: readonly number[], given: RowInputs): string | undefined;
  /** How many tokens at the start of a sequence the adapter leaves as the base computes them. Left out: none. */
  untouched?(inputs: RowInputs): number;
}

/** A network with the weights that it computes with. */
export interface WeightedNetwork {
  readonly network: Network;
  readonly weights: Weights;
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
  /** Whether the hooks have an `earlier` pass, for which a cache has twice the layers. Left out: no. */
  readonly earlierPass?: boolean;
  /** What the hooks read of every sequence. Left out: nothing. */
  readonly rowInputs?: RowInputsSpec;
  /** Those of one sequence: see `adapterFor`. */
  readonly inputs?: RowInputs;
  hooks(parameters: Parameters): LayerHooks;
  /**
   * What `hooks` does, as updates of linear layers by their module paths, where that is all it does: rows with several
   * such adapters share two products a layer, however many adapters there are.
   */
  lowRank?(parameters: Parameters): Readonly<Record<string, LowRankUpdate>>;
  /**
   * The parameters with what `hooks` would make of them and of the model alone at every pass (the rotations of OFT, a dense change of a
   * weight), lazy. `hooks` take these as well and give the same; where only the rows change from pass to pass, it is computed
   * once and kept for the adapters used last. Left out: nothing.
   */
  derived?(parameters: Parameters, base: WeightedNetwork): Parameters;
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

/** Cache compatibility: whether both write the same keys and values; the same adapter with the same row inputs. */
export const sameCache = (a: Adapter, b: Adapter): boolean =>
  sameAdapter(a, b) && (a.rowInputs?.names ?? []).every((name) => a.inputs?.[name] === b.inputs?.[name]);

/** The base's part of a cache: tokens at the start of a sequence before the adapter acts (aLoRA). */
export const untouchedBy = ({ hooks, rowInputs, inputs }: Adapter): number =>
  hooks === NO_ADAPTER.hooks ? Number.POSITIVE_INFINITY : ((inputs && rowInputs?.untouched?.(inputs)) ?? 0);

/**
 * The adapter for one sequence that begins with these tokens: itself, with its row inputs where it has some.
 *
 * @throws PosttrainError for inputs that it lacks, or that it does not know
 */
export function adapterFor<A extends Adapter>(adapter: A, tokens: readonly number[], given: RowInputs = {}): A {
  const { rowInputs, name } = adapter;
  const unknown = Object.keys(given).find((input) => !rowInputs?.names.includes(input));
  if (unknown !== undefined) {
    const known = rowInputs ? `it reads ${rowInputs.names.join(', ')}` : 'it reads nothing of a sequence';
    throw new PosttrainError('ADAPTER_INPUTS', `the adapter ${name} has no input "${unknown}": ${known}`);
  }
  for (const [input, value] of Object.entries(given)) {
    if ((value | 0) === value) continue;
    throw new PosttrainError('ADAPTER_INPUTS', `the adapter ${name}: ${input} is ${showValue(value)}, no int32`);
  }
  return rowInputs ? { ...adapter, inputs: rowInputs.of(tokens, given) } : adapter;
}

/**
 * The row inputs of sequences as int32 [count, width], each row filled with its sequence's number; undefined where the adapter
 * reads none. `sequences` has the tokens of each row, one sequence a row.
 */
export function rowInputsOf(
  adapter: Adapter,
  sequences: readonly (readonly number[])[],
  [count, width]: readonly [number, number],
  given: readonly RowInputs[] = [],
): Readonly<Record<string, Tensor>> | undefined {
  const { rowInputs } = adapter;
  if (!rowInputs && given.every((inputs) => Object.keys(inputs).length === 0)) return undefined;
  const all = sequences.map((tokens, i) => adapterFor(adapter, tokens, given[i] ?? adapter.inputs).inputs);
  return Object.fromEntries(
    (rowInputs?.names ?? []).map((name) => {
      const grid = new Int32Array(count * width);
      all.forEach((inputs, i) => {
        grid.fill(inputs![name]!, i * width, (i + 1) * width);
      });
      return [name, tensor(grid, [count, width], 'int32')];
    }),
  );
}

/**
 * Memoised by network and by an adapter's hooks, compiled for the network's engine: what `make` gives is traced once,
 * whatever the adapter's numbers.
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
