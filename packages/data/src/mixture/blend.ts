import { createRandom } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';
import { eachRow, type RowSource } from '../rows.js';

/** A source of a blend. */
export interface BlendSource<R extends object> {
  readonly rows: RowSource<R>;
  /** Its share, or its size: what the temperature is applied to. */
  readonly weight: number;
}

/** How sources are blended. */
export interface BlendOptions {
  /** p_i ∝ weight_i^(1/T): 1 is in proportion, above it nearer to equal shares. Default 1. */
  readonly temperature?: number;
  /** When it ends: as soon as one source that is drawn has no more, or when all have none (the rest go on in proportion). Default `'all'`. */
  readonly stop?: 'first' | 'all';
  readonly seed?: number;
}

/**
 * The probabilities of sources: p_i ∝ weight_i^(1/T) (mT5, arXiv 2010.11934, whose α is 1/T).
 *
 * @throws DataOptionError for weights that are no positive numbers, or a temperature that is none
 */
export function blendProbabilities(weights: readonly number[], temperature = 1): number[] {
  const isGood = weights.length > 0 && weights.every((one) => Number.isFinite(one) && one > 0) && temperature > 0;
  if (!isGood)
    throw new DataOptionError('blend', 'weights and temperature must be numbers above 0, at least one source.');
  const logs = weights.map((one) => Math.log(one) / temperature);
  const most = Math.max(...logs);
  const scaled = logs.map((one) => Math.exp(one - most));
  const total = scaled.reduce((sum, one) => sum + one, 0);
  return scaled.map((one) => one / total);
}

/** Rows of several sources, each next one of a source that is drawn. Reads no row before it is drawn. */
export async function* blend<R extends object>(
  sources: Readonly<Record<string, BlendSource<R>>>,
  { temperature = 1, stop = 'all', seed = 0 }: BlendOptions = {},
): AsyncGenerator<R> {
  const names = Object.keys(sources).sort();
  const probabilities = blendProbabilities(
    names.map((name) => sources[name]!.weight),
    temperature,
  );
  const open = names.map((name, i) => ({ rows: eachRow('blend', sources[name]!.rows), p: probabilities[i]! }));
  const random = createRandom(seed, 'blend');
  try {
    while (open.length > 0) {
      const total = open.reduce((sum, { p }) => sum + p, 0);
      let left = random.float() * total;
      let at = 0;
      while (at < open.length - 1 && left >= open[at]!.p) left -= open[at++]!.p;
      const next = await open[at]!.rows.next();
      if (!next.done) yield next.value;
      else if (stop === 'first') return;
      else open.splice(at, 1);
    }
  } finally {
    await Promise.all(open.map(({ rows }) => rows.return(undefined)));
  }
}
