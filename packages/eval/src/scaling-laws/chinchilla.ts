import { assertArgument, type Given, integer, number, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import { minimize, type Objective } from '../statistics/minimize.js';

/** One training run: its size, what it was trained on, and where it ended. */
export interface ScalingRun {
  /** Parameters of the model. */
  readonly parameters: number;
  /** Tokens it was trained on. */
  readonly tokens: number;
  /** Final loss, nats a token. */
  readonly loss: number;
}

const scalingLawOptions = options('fitScalingLaw', {
  /** Where the Huber loss on log L turns from square to linear. Default 1e-3, the paper's. */
  delta: number({ default: 1e-3, above: 0 }),
  /** Bootstrap resamples of the runs, for the intervals. Default 0: no intervals. */
  resamples: integer({ default: 0, min: 0 }),
  /** Of the resamples. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `fitScalingLaw`. */
export type ScalingLawOptions = Given<typeof scalingLawOptions>;

/** The five constants of L(N, D) = E + A / N^α + B / D^β. */
export interface ScalingLawConstants {
  readonly e: number;
  readonly a: number;
  readonly b: number;
  readonly alpha: number;
  readonly beta: number;
}

/** A fitted law L(N, D) = E + A / N^α + B / D^β. */
export interface ScalingLaw extends ScalingLawConstants {
  /** Mean Huber loss of log L at the fit. */
  readonly residual: number;
  /** 95 % bootstrap intervals, when resamples were asked for. */
  readonly intervals?: { readonly [Name in keyof ScalingLawConstants]: readonly [low: number, high: number] };
  /** The loss it predicts, nats a token. */
  predict(run: { readonly parameters: number; readonly tokens: number }): number;
  /** The model size and number of tokens of least predicted loss among those that cost `flops` = 6 N D. */
  computeOptimal(flops: number): { readonly parameters: number; readonly tokens: number; readonly loss: number };
}

/** Starting points: log A, log B, log E, α, β. The objective is cheap, and only the best of them are followed. */
const GRID = [
  [0, 5, 10, 15, 20, 25],
  [0, 5, 10, 15, 20, 25],
  [-1, -0.5, 0, 0.5, 1],
  [0, 0.5, 1, 1.5, 2],
  [0, 0.5, 1, 1.5, 2],
] as const;
const FOLLOWED_STARTS = 24;

/**
 * Fits L(N, D) = E + A / N^α + B / D^β to finished runs (arXiv 2203.15556, approach 3): minimises the Huber loss of
 * log-sum-exp(log A - α log N, log B - β log D, log E) - log L over a grid of starting points.
 *
 * @throws OptionError; EvaluationError for fewer than five runs, or numbers that are not positive
 */
export function fitScalingLaw(runs: readonly ScalingRun[], given: ScalingLawOptions = {}): ScalingLaw {
  const { delta, resamples, seed } = scalingLawOptions.read(given);
  assertArgument('fitScalingLaw', 'runs', runs, Array.isArray(runs), 'a list of { parameters, tokens, loss }');
  if (runs.length < 5)
    throw new EvaluationError('TOO_FEW_RUNS', `a law of five constants needs at least five runs, not ${runs.length}`);
  for (const [i, run] of runs.entries()) {
    if (!(run.parameters > 0 && run.tokens > 0 && run.loss > 0))
      throw new EvaluationError(
        'BAD_RUN',
        `run ${i}: parameters, tokens and loss must be positive: ${JSON.stringify(run)}`,
      );
  }
  const objective = objectiveOf(runs, delta);
  const starts = product(GRID)
    .map((x) => ({ x, value: objective(x).value }))
    .sort((p, q) => p.value - q.value)
    .slice(0, FOLLOWED_STARTS);
  const best = starts.map(({ x }) => minimize(objective, x)).reduce((p, q) => (q.value < p.value ? q : p));
  const law = lawOf(best.x, best.value);
  if (resamples === 0) return law;

  const random = createRandom(seed, 'chinchilla');
  const fits = Array.from({ length: resamples }, () => {
    const drawn = runs.map(() => runs[random.integer(0, runs.length - 1)]!);
    return constantsOf(minimize(objectiveOf(drawn, delta), best.x).x);
  });
  const interval = (name: keyof ScalingLawConstants) => {
    const sorted = fits.map((fit) => fit[name]).sort((p, q) => p - q);
    const at = (share: number) => sorted[Math.min(resamples - 1, Math.floor(share * resamples))]!;
    return [at(0.025), at(0.975)] as const;
  };
  return {
    ...law,
    intervals: {
      e: interval('e'),
      a: interval('a'),
      b: interval('b'),
      alpha: interval('alpha'),
      beta: interval('beta'),
    },
  };
}

function objectiveOf(runs: readonly ScalingRun[], delta: number): Objective {
  const logs = runs.map(({ parameters, tokens, loss }) => [Math.log(parameters), Math.log(tokens), Math.log(loss)]);
  return ([a, b, e, alpha, beta]) => {
    let value = 0;
    const gradient = [0, 0, 0, 0, 0];
    for (const [logN, logD, logL] of logs) {
      const terms = [a! - alpha! * logN!, b! - beta! * logD!, e!];
      const top = Math.max(...terms);
      const weights = terms.map((term) => Math.exp(term - top));
      const sum = weights.reduce((p, q) => p + q, 0);
      const residual = top + Math.log(sum) - logL!;
      const isSquare = Math.abs(residual) <= delta;
      value += isSquare ? residual ** 2 / 2 : delta * (Math.abs(residual) - delta / 2);
      const slope = (isSquare ? residual : delta * Math.sign(residual)) / runs.length;
      const [pa, pb, pe] = weights.map((weight) => (weight / sum) * slope);
      [pa!, pb!, pe!, -pa! * logN!, -pb! * logD!].forEach((part, i) => {
        gradient[i]! += part;
      });
    }
    return { value: value / runs.length, gradient };
  };
}

function constantsOf([a, b, e, alpha, beta]: readonly number[]): ScalingLawConstants {
  return { e: Math.exp(e!), a: Math.exp(a!), b: Math.exp(b!), alpha: alpha!, beta: beta! };
}

function lawOf(x: readonly number[], residual: number): ScalingLaw {
  const constants = constantsOf(x);
  const { e, a, b, alpha, beta } = constants;
  const predict = ({ parameters, tokens }: { parameters: number; tokens: number }) =>
    e + a / parameters ** alpha + b / tokens ** beta;
  return {
    ...constants,
    residual,
    predict,
    computeOptimal(flops) {
      // Setting the derivative of L(N, flops / 6N) to zero: α A / N^α = β B / D^β.
      const ratio = ((alpha * a) / (beta * b)) ** (1 / (alpha + beta));
      const parameters = ratio * (flops / 6) ** (beta / (alpha + beta));
      const tokens = flops / 6 / parameters;
      return { parameters, tokens, loss: predict({ parameters, tokens }) };
    },
  };
}

function product(lists: readonly (readonly number[])[]): number[][] {
  return lists.reduce<number[][]>((all, list) => all.flatMap((head) => list.map((x) => [...head, x])), [[]]);
}
