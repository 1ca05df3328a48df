import {
  custom,
  type Given,
  integer,
  type OnProgress,
  oneOf,
  options,
  type Scorer,
  type TrainableRow,
} from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import { assertLength } from '../task-kind.js';
import { isRows, rowsOption, trainerOption } from './scorer-trainer-options.js';

const liraOptions = options('liraAttack', {
  /** The model that is attacked, by what it thinks of texts. */
  target: custom<Scorer>()(
    'a scorer ({ name, score(requests) })',
    (value) => typeof (value as Partial<Scorer> | null)?.score === 'function',
    {},
  ),
  /** Trains shadow models as the target was trained: `sftScorerTrainer(…)` of `@posttrain/training`, say. */
  trainer: trainerOption,
  /** Rows of which it is asked whether the target was trained on them. */
  rows: rowsOption,
  /**
   * Other rows of the same kind, for shadow models. Needed offline; online they are added to the rows that are asked
   * about. Default: none.
   */
  population: custom<readonly TrainableRow[]>()('a list of { prompt, completion }', isRows, { optional: true }),
  /**
   * `online`: each shadow model is trained on half of `rows` and `population`, each row being in half of them.
   * `offline`: on half of `population` alone, so that one set of shadow models serves for any rows; weaker. Default
   * `online`.
   */
  mode: oneOf(['online', 'offline'], { default: 'online' }),
  /** Models to train. Default 16. */
  shadows: integer({ default: 16, min: 2 }),
  /**
   * `row`: each row has variances of its own; `global`: all rows share one, better with few models. Default: `global`
   * for fewer than 64 shadows.
   */
  variance: oneOf(['row', 'global'], { optional: true }),
  /** Of the halves, and of the training of each shadow model. Default 0. */
  seed: integer({ default: 0 }),
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
  onProgress: custom<OnProgress>()('a function', (value) => typeof value === 'function', { optional: true }),
});
/** Options of `liraAttack`. */
export type LiraAttackOptions = Given<typeof liraOptions>;

/** What a membership inference attack thinks. */
export interface LiraResult {
  /** One a row, higher where it is more likely a member: see `liraScores`. For `auroc` and `truePositiveRate`. */
  readonly scores: readonly number[];
  /** φ of the target, one a row. */
  readonly confidences: readonly number[];
}

/**
 * The likelihood-ratio attack (LiRA, arXiv 2112.03570): was a row among those that a model was trained on? Shadow
 * models are trained with and without it, and the target's confidence in the row is compared with theirs. Confidence
 * is φ = log(p / (1 − p)), with p the geometric mean of the probabilities of the completion's tokens.
 *
 * @throws OptionError; EvaluationError `NO_POPULATION` offline without rows for shadow models, `BAD_RESPONSE` for
 *   scores of other numbers; what the trainer throws
 */
export async function liraAttack(given: LiraAttackOptions): Promise<LiraResult> {
  const { target, trainer, rows, population = [], mode, shadows, seed, signal, onProgress } = liraOptions.read(given);
  const { variance = shadows < 64 ? 'global' : 'row' } = given;
  const pool = mode === 'online' ? [...rows, ...population] : population;
  if (pool.length < 2) {
    const problem = `there are ${pool.length} rows to train shadow models on; mode "${mode}" needs at least 2`;
    throw new EvaluationError('NO_POPULATION', `liraAttack: ${problem}.`);
  }
  const halves = halvesOf(pool.length, shadows, mode === 'online', seed);
  const confidences = await confidencesOf(target, rows);
  const seen: number[][] = [];
  for (const [s, half] of halves.entries()) {
    signal?.throwIfAborted();
    const chosen = pool.filter((_, i) => half[i]);
    const shadow = await trainer.train(chosen, { seed: seed + s, ...(signal && { signal }) });
    seen.push(await confidencesOf(shadow, rows));
    onProgress?.({ stage: 'liraAttack: shadow models', done: s + 1, total: shadows });
  }
  const members = mode === 'online' ? halves.map((half) => half.slice(0, rows.length)) : undefined;
  const scores = liraScores({ target: confidences, shadows: seen, variance, ...(members && { members }) });
  return { scores, confidences };
}

/** What `liraScores` is given; lists of one number a row. */
export interface LiraConfidences {
  /** φ of the model that is attacked. */
  readonly target: readonly number[];
  /** φ of each shadow model. */
  readonly shadows: readonly (readonly number[])[];
  /** Whether each shadow model was trained on each row; left out offline, where none was. */
  readonly members?: readonly (readonly boolean[])[];
  /** `row`, or `global`: the mean over rows of their variances. */
  readonly variance: 'row' | 'global';
}

/** So small that it only matters where all shadow models agree. */
const LEAST_DEVIATION = 1e-30;

/**
 * LiRA's scores from confidences, one a row. Online the log of the likelihood ratio, log N(φ; μ_in, σ_in²) − log N(φ;
 * μ_out, σ_out²); offline (φ − μ_out) / σ_out, of which Λ = 1 − P(Z > φ) is a rising function. Means and variances
 * are those of the shadow models in which the row is, or is not.
 *
 * @throws EvaluationError `UNPAIRED` for lists of other lengths, and for a row that is in all shadow models or,
 *   online, in none
 */
export function liraScores({ target, shadows, members, variance }: LiraConfidences): number[] {
  const lists = [...shadows, ...(members ?? [])];
  const fits = lists.every(({ length }) => length === target.length) && (members ?? shadows).length === shadows.length;
  if (!fits) throw new EvaluationError('UNPAIRED', 'liraScores: every list must have one entry for each row.');
  const outside = fitted(target, shadows, (s, row) => !members || !members[s]![row], variance);
  if (!members) return target.map((phi, row) => (phi - outside[row]!.mean) / outside[row]!.deviation);
  const inside = fitted(target, shadows, (s, row) => members[s]![row]!, variance);
  return target.map((phi, row) => logDensity(phi, inside[row]!) - logDensity(phi, outside[row]!));
}

interface Normal {
  readonly mean: number;
  readonly deviation: number;
}

/** log N(x; μ, σ²) without its constant. */
const logDensity = (x: number, { mean, deviation }: Normal): number =>
  -(((x - mean) / deviation) ** 2) / 2 - Math.log(deviation);

/** The normal distribution of each row's confidences in the shadow models that are asked for. */
function fitted(
  target: readonly number[],
  shadows: readonly (readonly number[])[],
  counts: (shadow: number, row: number) => boolean,
  variance: 'row' | 'global',
): Normal[] {
  const moments = target.map((_, row) => {
    const values = shadows.filter((__, s) => counts(s, row)).map((shadow) => shadow[row]!);
    if (values.length === 0) {
      const problem = `row ${row} is in all shadow models or in none of ${shadows.length}`;
      throw new EvaluationError('UNPAIRED', `liraScores: ${problem}, so there is nothing to compare.`);
    }
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    return { mean, square: values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length };
  });
  const shared = moments.reduce((sum, { square }) => sum + square, 0) / moments.length;
  return moments.map(({ mean, square }) => ({
    mean,
    deviation: Math.sqrt(variance === 'global' ? shared : square) + LEAST_DEVIATION,
  }));
}

/** φ of each row: log(p / (1 − p)) with log p the mean log-probability of a token. */
async function confidencesOf(scorer: Scorer, rows: readonly TrainableRow[]): Promise<number[]> {
  const scores = await scorer.score(rows.map(({ prompt, completion }) => ({ prompt, continuation: completion })));
  assertLength(scorer.name, 'scores', scores.length, rows.length, 'rows');
  return scores.map(({ logProb, tokens }) => {
    const log = Math.min(logProb / tokens, -1e-15);
    return log - Math.log(-Math.expm1(log));
  });
}

/** Which rows each shadow model is trained on: half of them; `balanced`, so that each row is in half of the models. */
function halvesOf(count: number, shadows: number, balanced: boolean, seed: number): boolean[][] {
  const halves = Array.from({ length: shadows }, () => new Array<boolean>(count).fill(false));
  const random = createRandom(seed, 'liraAttack');
  if (balanced) {
    const order = Array.from({ length: shadows }, (_, s) => s);
    for (let row = 0; row < count; row++) {
      for (const s of random.shuffled(order).slice(0, shadows >> 1)) halves[s]![row] = true;
    }
    return halves;
  }
  const indices = Array.from({ length: count }, (_, i) => i);
  for (const half of halves) for (const i of random.shuffled(indices).slice(0, Math.ceil(count / 2))) half[i] = true;
  return halves;
}
