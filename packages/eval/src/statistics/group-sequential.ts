import { custom, type Given, number, oneOf, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { normalCdf, normalQuantile, whereRising } from './distributions.js';

const groupSequentialOptions = options('groupSequential', {
  /** Looks at the data, the last included: their number (evenly spaced), or the share of all problems at each, rising to 1. */
  looks: custom<number | readonly number[]>()(
    'a whole number from 1, or rising shares that end at 1, as [0.25, 0.5, 1]',
    (value) =>
      Array.isArray(value)
        ? value.length > 0 && value.at(-1) === 1 && value.every((t: number, i) => t > ((value[i - 1] as number) ?? 0))
        : Number.isInteger(value) && (value as number) >= 1,
    {},
  ),
  /**
   * How the rate of false alarms is spent. `obrien-fleming`: hardly any at first, so that the last look costs almost nothing. `pocock`: about as much
   * at each look, so that large differences end a run early. Default `obrien-fleming`.
   */
  spending: oneOf(['obrien-fleming', 'pocock'], { default: 'obrien-fleming' }),
  /** Two-sided rate of false alarms of all looks together. Default 0.05. */
  alpha: number({ default: 0.05, above: 0, below: 1 }),
});
/** Options of `groupSequential`. */
export type GroupSequentialOptions = Given<typeof groupSequentialOptions>;

/** One look of a plan. */
export interface Look {
  /** Share of all problems that is in by then. */
  readonly share: number;
  /** Stop and call it a difference where |difference / standard error| is at least this. */
  readonly bound: number;
  /** The two-sided p-value that this is of one look alone. */
  readonly nominal: number;
  /** False alarms spent up to this look. */
  readonly spent: number;
}

/**
 * Bounds of a comparison that is looked at while it runs and may stop early, with the rate of false alarms of one look (Lan and DeMets,
 * Biometrika 1983). Of the rate α, α*(t) is spent by the share t of the problems:
 *
 *   O'Brien–Fleming  α*(t) = 2 − 2Φ(z_{1−α/4} / √t) on each of two sides,  Pocock  α*(t) = α ln(1 + (e − 1) t)
 *
 * and the bound c_k of look k solves P(|Z_j| < c_j for j < k, |Z_k| ≥ c_k) = α*(t_k) − α*(t_{k−1}) for scores Z_k of a Brownian path, by the recursive
 * integration of Armitage, McPherson and Rowe (JRSS A 1969). The problems must come in an order that has nothing to do with how hard they are.
 *
 * @throws OptionError
 */
export function groupSequential(given: GroupSequentialOptions): Look[] {
  const { looks, spending, alpha } = groupSequentialOptions.read(given);
  const shares = typeof looks === 'number' ? Array.from({ length: looks }, (_, i) => (i + 1) / looks) : looks;
  // Each side spends by itself, as in the tables: the two never both happen but for a share that is negligible.
  const spentBy = (t: number): number =>
    spending === 'pocock'
      ? alpha * Math.log1p((Math.E - 1) * t)
      : 4 * (1 - normalCdf(normalQuantile(1 - alpha / 4) / Math.sqrt(t)));
  // Simpson's rule with ten nodes to a deviation of the narrowest step.
  const node = 0.1 * Math.sqrt(Math.min(...shares.map((share, k) => share - (shares[k - 1] ?? 0))));
  /** Sub-density of the score √t·Z at the points that have not stopped. */
  let alive: { readonly at: Float64Array; readonly mass: Float64Array; readonly share: number } | undefined;
  let spentBefore = 0;
  return shares.map((share, k) => {
    const spent = spentBy(share);
    const atLook = spent - spentBefore;
    spentBefore = spent;
    const crossing = (bound: number): number => {
      if (!alive) return 2 * normalCdf(-bound);
      const { at, mass, share: before } = alive;
      const deviation = Math.sqrt(share - before);
      const limit = bound * Math.sqrt(share);
      let sum = 0;
      for (let i = 0; i < at.length; i++) {
        sum += mass[i]! * (normalCdf((at[i]! - limit) / deviation) + normalCdf((-at[i]! - limit) / deviation));
      }
      return sum;
    };
    const bound = whereRising((c) => -crossing(c), -atLook, 0, 8);
    if (k < shares.length - 1) {
      const count = 2 * Math.max(50, Math.ceil((bound * Math.sqrt(share)) / node)) + 1;
      alive = advance(alive, share, bound, count);
    }
    return { share, bound, nominal: 2 * normalCdf(-bound), spent };
  });
}

type Alive = { readonly at: Float64Array; readonly mass: Float64Array; readonly share: number };

/** The mass that is within the bound at a look, at the nodes of Simpson's rule. */
function advance(before: Alive | undefined, share: number, bound: number, count: number): Alive {
  const limit = bound * Math.sqrt(share);
  const width = (2 * limit) / (count - 1);
  const at = Float64Array.from({ length: count }, (_, i) => -limit + i * width);
  const variance = share - (before?.share ?? 0);
  const scale = 1 / Math.sqrt(2 * Math.PI * variance);
  const density = (x: number): number => scale * Math.exp((-x * x) / (2 * variance));
  const mass = at.map((x, i) => {
    const weight = ((i === 0 || i === count - 1 ? 1 : i % 2 === 1 ? 4 : 2) * width) / 3;
    if (!before) return weight * density(x);
    let sum = 0;
    for (let j = 0; j < before.at.length; j++) sum += before.mass[j]! * density(x - before.at[j]!);
    return weight * sum;
  });
  return { at, mass, share };
}

/** What a look says. */
export interface LookVerdict {
  readonly z: number;
  readonly bound: number;
  /** `stop`: the difference is there. `continue`: go on. `end`: the last look, without one. */
  readonly decision: 'stop' | 'continue' | 'end';
  /** In words. */
  readonly statement: string;
}

/**
 * Whether a run may stop at look `index` of a plan.
 *
 * @param difference the difference that was measured so far, with its standard error (of `pairedBootstrap` or `compare`)
 * @throws EvaluationError `NO_SUCH_LOOK`; `BAD_STANDARD_ERROR` unless it is above 0
 */
export function atLook(
  plan: readonly Look[],
  index: number,
  { difference, standardError }: { readonly difference: number; readonly standardError: number | null },
): LookVerdict {
  const look = plan[index];
  if (!look) throw new EvaluationError('NO_SUCH_LOOK', `atLook: the plan has no look ${index}, only ${plan.length}.`);
  if (standardError === null || !(standardError > 0)) {
    throw new EvaluationError(
      'BAD_STANDARD_ERROR',
      `atLook: the standard error is ${standardError}; it must be above 0.`,
    );
  }
  const z = difference / standardError;
  const { bound } = look;
  const decision = Math.abs(z) >= bound ? 'stop' : index === plan.length - 1 ? 'end' : 'continue';
  const said = `look ${index + 1} of ${plan.length}: |z| = ${Math.abs(z).toFixed(2)}, bound ${bound.toFixed(2)}`;
  const meaning = {
    stop: 'the difference is real at the rate that was planned; stop.',
    continue: 'nothing can be said yet; go on.',
    end: 'no difference was found; that is not to say that there is none.',
  }[decision];
  return { z, bound, decision, statement: `${said}: ${meaning}` };
}
