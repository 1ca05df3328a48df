import { createHash } from 'node:crypto';
import { assertKnownOptions } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';
import { canonicalJson } from '../stable-hash.js';
import { blendProbabilities } from './blend.js';

/** A list of rows, and its share of what is drawn. */
export interface BlendedList<R extends object> {
  readonly rows: readonly R[];
  readonly weight: number;
}

/** How far a blend has come: how many rows were drawn of each list. */
export interface BlendedState {
  readonly drawn: Readonly<Record<string, number>>;
}

/** A blend that training asks for rows, and that goes on from its state: a `RowSource` of `@posttrain/training`. */
export interface BlendedSource<R extends object> {
  readonly name: string;
  readonly settings: Readonly<Record<string, string | number>>;
  next(request: { readonly count: number }): readonly { readonly row: R }[];
  state(): BlendedState;
  load(state: unknown): void;
}

/**
 * Lists of rows blended for training, without an end: each row is of a list that is drawn with p ∝ weight^(1/T) as in `blend`, and every list goes round and round, in a new order each time, so that no row of it comes
 * twice before all have come. Its state is one number a list, with which a resumed run goes on in the middle of each of them.
 *
 * @param options `temperature` (default 1), `seed` (default 0)
 * @throws OptionError for an unknown option; DataOptionError for weights that are no positive numbers, a list without rows, a state of other lists
 */
export function blendedSource<R extends object>(
  lists: Readonly<Record<string, BlendedList<R>>>,
  given: { readonly temperature?: number; readonly seed?: number } = {},
): BlendedSource<R> {
  assertKnownOptions('blendedSource', given, ['temperature', 'seed']);
  const { temperature = 1, seed = 0 } = given;
  const names = Object.keys(lists).sort();
  const empty = names.find((name) => lists[name]!.rows.length === 0);
  if (empty !== undefined) throw new DataOptionError('blendedSource', `the list "${empty}" has no rows.`);
  const weights = names.map((name) => lists[name]!.weight);
  const probabilities = blendProbabilities(weights, temperature);
  const rows = createHash('sha256')
    .update(canonicalJson(names.map((name) => lists[name]!.rows)))
    .digest('hex');
  let drawn = names.map(() => 0);
  const orders = new Map<string, { readonly round: number; readonly order: readonly number[] }>();
  /** Rows of a list in the order of one of its rounds. */
  const orderOf = (name: string, round: number): readonly number[] => {
    const known = orders.get(name);
    if (known?.round === round) return known.order;
    const order = createRandom(seed, 'blended', name, round).shuffled([...lists[name]!.rows.keys()]);
    orders.set(name, { round, order });
    return order;
  };
  return {
    name: 'blend',
    settings: { lists: names.join(','), weights: weights.join(','), temperature, seed, rows },
    next: ({ count }) =>
      Array.from({ length: count }, () => {
        // The number of a draw is all that it is drawn by.
        const draw = drawn.reduce((a, b) => a + b, 0);
        let left = createRandom(seed, 'blended', draw).float();
        let at = 0;
        while (at < names.length - 1 && left >= probabilities[at]!) left -= probabilities[at++]!;
        const name = names[at]!;
        const own = lists[name]!.rows;
        const place = drawn[at]!++;
        return { row: own[orderOf(name, Math.floor(place / own.length))[place % own.length]!]! };
      }),
    state: () => ({ drawn: Object.fromEntries(names.map((name, i) => [name, drawn[i]!])) }),
    load(state) {
      const given = (state as Partial<BlendedState> | null)?.drawn ?? {};
      const isOwn = Object.keys(given).sort().join() === names.join();
      if (!isOwn || !Object.values(given).every((one) => Number.isSafeInteger(one) && one >= 0))
        throw new DataOptionError('blendedSource', `the state must have numbers of the lists ${names.join(', ')}.`);
      drawn = names.map((name) => given[name]!);
    },
  };
}
