import { createRandom, type Random } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';

const MODES = ['replace', 'accumulate', 'accumulate-subsample'] as const;
/** What a generation is trained on: the last model's rows alone; those of all, with the real ones; or a draw of those, of fixed size. */
export type GenerationMode = (typeof MODES)[number];

/** The parts of a chain of generations. */
export interface GenerationsOptions<Model, Row> {
  readonly real: readonly Row[];
  readonly train: (rows: readonly Row[], generation: number) => Promise<Model> | Model;
  /** Rows of a model. */
  readonly sample: (model: Model, count: number, random: Random) => Promise<readonly Row[]> | readonly Row[];
  readonly mode: GenerationMode;
  /** Generations behind the first, which is trained on the real rows. */
  readonly generations: number;
  /** Rows of each model. Default: as many as there are real ones. */
  readonly count?: number;
  readonly seed?: number;
}

/**
 * Models that are trained on what models before them have made, with the controls of model collapse: `replace` (arXiv 2305.17493, which collapses), `accumulate` (2404.01413, whose error stays bounded) and
 * `accumulate-subsample`, which has the same rows to draw from at a fixed cost (2410.16713). Real rows are kept apart and never lost by accumulating. The first model is at index 0.
 *
 * @throws DataOptionError for an unknown mode, or no real rows
 */
export async function generations<Model, Row>({
  real,
  train,
  sample,
  mode,
  generations: count,
  count: size = real.length,
  seed = 0,
}: GenerationsOptions<Model, Row>): Promise<readonly { readonly model: Model; readonly rows: number }[]> {
  if (!MODES.includes(mode))
    throw new DataOptionError('generations', `mode must be one of ${MODES.join(', ')}, got ${mode}.`);
  if (real.length === 0) throw new DataOptionError('generations', 'there are no real rows.');
  let pool: Row[] = [...real];
  let model = await train(pool, 0);
  const done = [{ model, rows: pool.length }];
  for (let generation = 1; generation <= count; generation++) {
    const random = createRandom(seed, 'generation', generation);
    const made = await sample(model, size, random);
    pool = mode === 'replace' ? [...made] : [...pool, ...made];
    const rows = mode === 'accumulate-subsample' ? random.shuffled(pool).slice(0, real.length) : pool;
    model = await train(rows, generation);
    done.push({ model, rows: rows.length });
  }
  return done;
}
