import { type Given, integer, number, oneOf, options, PosttrainError } from '@posttrain/interfaces';
import type { Stateful } from '../stateful.js';

const tdLambdaOptions = options('tdLambda', {
  /** How many features a state has; of a table as many as there are states. */
  features: integer({ min: 1 }),
  /** α: the length of a step. */
  learningRate: number({ above: 0 }),
  /** γ: what a reward one step later is worth. Default 1. */
  gamma: number({ default: 1, min: 0, max: 1 }),
  /** λ: 0 is TD(0), 1 the return of the whole episode. Default 0.9. */
  lambda: number({ default: 0.9, min: 0, max: 1 }),
  /** What a trace does where a state comes again: `accumulating` adds, `replacing` begins anew (Singh and Sutton, 1996). Default `accumulating`. */
  traces: oneOf(['accumulating', 'replacing'], { default: 'accumulating' }),
  /** When what is learnt counts: in every step, or at the end of the episode. Default `online`. */
  updates: oneOf(['online', 'offline'], { default: 'online' }),
  /** What every weight begins with. Default 0. */
  initial: number({ default: 0 }),
});
/** Options of `tdLambda`. */
export type TdLambdaOptions = Given<typeof tdLambdaOptions>;

/** Features of a state: all of them, or the one that is 1 (a table). */
type Features = ArrayLike<number> | number;

/** One step of an episode. */
export interface TdStep {
  /** Of the state that was left. */
  readonly from: Features;
  readonly reward: number;
  /** Of the state that came; null: the episode is over. */
  readonly to: Features | null;
}

/** A linear value function that learns by temporal differences. Its weights are its state, between episodes. */
export interface TdLambda extends Stateful {
  /** w. */
  readonly weights: Float64Array;
  /** V = w · x. */
  value(features: Features): number;
  /** Learns one step. @returns δ */
  step(step: TdStep): number;
  /** Ends the episode: of `offline` updates what was learnt counts now. A step to null does so by itself. */
  end(): void;
}

/**
 * TD(λ) with eligibility traces (Sutton, 1988), the backward view: δ = r + γ w·x' - w·x, e ← γ λ e + x, w ← w + α δ e. Offline, an episode
 * moves w by Σ_t α (G_t^λ - V_t) x_t, with the λ-returns of `lambdaReturns`.
 *
 * @throws OptionError; PosttrainError TD for features of another number
 */
export function tdLambda(given: TdLambdaOptions): TdLambda {
  const { features: size, learningRate, gamma, lambda, traces, updates, initial } = tdLambdaOptions.read(given);
  const weights = new Float64Array(size).fill(initial);
  const trace = new Float64Array(size);
  const waiting = new Float64Array(size);
  const entries = (of: Features): readonly (readonly [number, number])[] => {
    if (typeof of === 'number') {
      if (Number.isInteger(of) && of >= 0 && of < size) return [[of, 1]];
      throw new PosttrainError('TD', `tdLambda: there is no feature ${of}; they are 0 to ${size - 1}`);
    }
    if (of.length === size) return Array.from(of).flatMap((x, i) => (x === 0 ? [] : [[i, x] as const]));
    throw new PosttrainError('TD', `tdLambda: a state has ${of.length} features, and ${size} are expected`);
  };
  const value = (of: Features) => entries(of).reduce((sum, [i, x]) => sum + weights[i]! * x, 0);
  const end = () => {
    waiting.forEach((change, i) => {
      weights[i] = weights[i]! + change;
    });
    trace.fill(0);
    waiting.fill(0);
  };
  return {
    ...{ weights, value, end },
    step({ from, reward, to }) {
      const delta = reward + (to === null ? 0 : gamma * value(to)) - value(from);
      trace.forEach((e, i) => {
        trace[i] = gamma * lambda * e;
      });
      for (const [i, x] of entries(from)) trace[i] = traces === 'replacing' ? x : trace[i]! + x;
      const moved = updates === 'online' ? weights : waiting;
      trace.forEach((e, i) => {
        moved[i] = moved[i]! + learningRate * delta * e;
      });
      if (to === null) end();
      return delta;
    },
    state: () => [...weights],
    load(state) {
      weights.set(state as number[]);
      trace.fill(0);
      waiting.fill(0);
    },
  };
}
