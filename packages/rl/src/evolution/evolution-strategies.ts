import {
  assertArgument,
  custom,
  type Given,
  integer,
  number,
  oneOf,
  options,
  PosttrainError,
} from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';

const evolutionOptions = options('evolutionStrategies', {
  /** What a list of points is worth, higher being better, one number each: a merged model's score for weights of a mixture, say. */
  fitness: custom<(points: readonly (readonly number[])[]) => readonly number[] | Promise<readonly number[]>>()(
    'a function of a list of points',
    (value) => typeof value === 'function',
    { settings: (fitness) => String(fitness) },
  ),
  /** Updates. */
  steps: integer({ min: 1 }),
  /** Pairs of mirrored points in an update: it asks about twice as many. Default 16. */
  pairs: integer({ default: 16, min: 1 }),
  /** σ, how far from the present point they are. Default 0.1. */
  sigma: number({ default: 0.1, above: 0 }),
  /** α of plain ascent. Default 0.1. */
  learningRate: number({ default: 0.1, above: 0 }),
  /** `rank`: fitness counts by its rank only, from -1/2 to 1/2; `none`: as it is. Default `rank`. */
  shaping: oneOf(['rank', 'none'], { default: 'rank' }),
  /** Part of the point that each update takes off. Default 0. */
  weightDecay: number({ default: 0, min: 0 }),
  /** Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `evolutionStrategies`. */
export type EvolutionStrategiesOptions = Given<typeof evolutionOptions>;

/** Where evolution came to. */
export interface EvolutionResult {
  readonly point: readonly number[];
  /** Of each update: the point before it, and the mean fitness about it. */
  readonly history: readonly { readonly point: readonly number[]; readonly fitness: number }[];
}

/**
 * Evolution strategies (Salimans et al., arXiv 1703.03864), which ask a function for values only and never for a gradient: with ε_i drawn from a standard
 * normal distribution and mirrored,
 *
 *   θ ← (1 - λ) θ + α / (2nσ) Σ_i (F(θ + σ ε_i) - F(θ - σ ε_i)) ε_i
 *
 * where F is the fitness, or with `rank` its centred rank among all 2n of the update (algorithm 2 of its authors' code; ties keep the order in which
 * they were asked about). Plain ascent: theirs goes through Adam. The sum over n pairs is divided by 2n, the number of points, as theirs is.
 *
 * @param start θ, of any length
 * @throws OptionError; PosttrainError FITNESS for other than one finite number a point
 */
export async function evolutionStrategies(
  start: readonly number[],
  given: EvolutionStrategiesOptions,
): Promise<EvolutionResult> {
  const settings = evolutionOptions.read(given);
  const { steps, pairs, sigma, fitness, seed } = settings;
  const { where } = evolutionOptions;
  const isPoint = Array.isArray(start) && start.length > 0 && start.every((x) => Number.isFinite(x));
  assertArgument(where, 'start', start, isPoint, 'a list of finite numbers');
  const history: { point: readonly number[]; fitness: number }[] = [];
  let point: readonly number[] = [...start];
  for (let step = 0; step < steps; step++) {
    const random = createRandom(seed, `${where} ${step}`);
    const noise = Array.from({ length: pairs }, () => point.map(() => normal(random)));
    const asked = noise.flatMap((own) => [1, -1].map((sign) => point.map((x, k) => x + sign * sigma * own[k]!)));
    const values = await fitness(asked);
    const isFine = values.length === asked.length && values.every((value) => Number.isFinite(value));
    if (!isFine) {
      const problem = `fitness gave ${values.length} numbers for ${asked.length} points, or one that is not finite`;
      throw new PosttrainError('FITNESS', `${where}, step ${step}: ${problem}; give one finite number a point`);
    }
    history.push({ point, fitness: values.reduce((a, b) => a + b, 0) / values.length });
    point = evolved(point, noise, values, settings);
  }
  return { point, history };
}

/** One update, of what mirrored points were worth: those of the first pair, θ + σ ε and θ - σ ε, then those of the second … */
export function evolved(
  point: readonly number[],
  noise: readonly (readonly number[])[],
  values: readonly number[],
  {
    sigma,
    learningRate,
    shaping,
    weightDecay,
  }: Readonly<Record<'sigma' | 'learningRate' | 'weightDecay', number>> & { readonly shaping: 'rank' | 'none' },
): number[] {
  const shaped = shaping === 'rank' ? centredRanks(values) : values;
  return point.map((x, k) => {
    const sum = noise.reduce((total, own, i) => total + (shaped[2 * i]! - shaped[2 * i + 1]!) * own[k]!, 0);
    return (1 - weightDecay) * x + (learningRate / (values.length * sigma)) * sum;
  });
}

/** Ranks from -1/2 to 1/2. */
function centredRanks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]! || a - b);
  const ranks = new Array<number>(values.length);
  order.forEach((i, rank) => {
    ranks[i] = values.length === 1 ? 0 : rank / (values.length - 1) - 0.5;
  });
  return ranks;
}

/** Box and Muller's. */
const normal = (random: Random): number =>
  Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());
