import { PosttrainError } from '@posttrain/interfaces';
import type { TrainingRow } from '@posttrain/training';
import type { Trajectory } from '../../rollout/play.js';
import type { DecisionTransformerConfig } from './config.js';

/** R̂_t = Σ_{i ≥ t} r_i. */
export function returnsToGo(rewards: readonly number[]): number[] {
  const returns = new Array<number>(rewards.length);
  let sum = 0;
  for (let t = rewards.length - 1; t >= 0; t--) {
    sum += rewards[t]!;
    returns[t] = sum;
  }
  return returns;
}

/** Some time steps, of which the last may have no action yet. */
export interface TimeSteps {
  /** Of the first of them. */
  readonly from: number;
  readonly observations: readonly ArrayLike<number>[];
  readonly actions: readonly (number | ArrayLike<number>)[];
  /** R̂ of each, as the model is to read it. */
  readonly returns: readonly number[];
}

/** Time steps as tokens and inputs, three tokens a step. @throws PosttrainError TRAJECTORY */
export function toTokens(
  { stateSize, actionSize, discrete, maxEpisodeLength }: DecisionTransformerConfig,
  { from, observations, actions, returns }: TimeSteps,
): Pick<Required<TrainingRow>, 'tokens' | 'inputs'> {
  const steps = observations.length;
  if (from + steps > maxEpisodeLength) {
    throw new PosttrainError('TRAJECTORY', `time step ${from + steps - 1} is not below max_ep_len ${maxEpisodeLength}`);
  }
  /** Numbers of each step at the place of its `kind`, and 0 elsewhere. */
  const placed = (width: number, kind: number, of: (step: number) => ArrayLike<number>) => {
    const data = new Float32Array(3 * steps * width);
    for (let t = 0; t < steps; t++) {
      const numbers = of(t);
      if (numbers.length !== width) {
        throw new PosttrainError(
          'TRAJECTORY',
          `time step ${from + t} has ${numbers.length} numbers where the model has ${width}`,
        );
      }
      data.set(numbers, (3 * t + kind) * width);
    }
    return { data, width };
  };
  const none = new Float32Array(actionSize);
  const choice = (t: number) => actionOf(actions[t] ?? 0, from + t, actionSize);
  const tokens = Array.from({ length: 3 * steps }, (_, i) => (discrete && i % 3 === 2 ? choice((i - 2) / 3) : 0));
  const timesteps = Int32Array.from({ length: 3 * steps }, (_, i) => from + Math.floor(i / 3));
  return {
    tokens,
    inputs: {
      returns_to_go: placed(1, 0, (t) => [returns[t]!]),
      states: placed(stateSize, 1, (t) => observations[t]!),
      timesteps: { data: timesteps, width: 1, dtype: 'int32' },
      ...(!discrete && { actions: placed(actionSize, 2, (t) => vectorOf(actions[t] ?? none, from + t)) }),
    },
  };
}

function actionOf(action: number | ArrayLike<number>, step: number, count: number): number {
  if (typeof action === 'number' && Number.isInteger(action) && action >= 0 && action < count) return action;
  throw new PosttrainError(
    'TRAJECTORY',
    `the action of time step ${step} is ${action}, and not one of ${count} choices`,
  );
}

function vectorOf(action: number | ArrayLike<number>, step: number): ArrayLike<number> {
  if (typeof action !== 'number') return action;
  throw new PosttrainError('TRAJECTORY', `the action of time step ${step} is ${action}, and not a vector`);
}

/** Options of `trajectoryRow`. */
export interface TrajectoryRowOptions {
  /** The first time step of the row. Default 0. */
  readonly from?: number;
  /** Time steps in it, the last ones of a trajectory being fewer. Default: all. */
  readonly steps?: number;
  /** Returns are divided by it. Default 1. */
  readonly returnScale?: number;
  /** What an action counts in the loss. Default: 1 / the number of actions in the row. */
  readonly weight?: number;
}

/**
 * Some steps of a trajectory as a row to train a Decision Transformer on: tokens 3t, 3t + 1 and 3t + 2 are R̂, s and
 * a of a step, so that prediction 3t + 1 is that of its action.
 *
 * @throws PosttrainError TRAJECTORY where it does not fit the model
 */
export function trajectoryRow(
  config: DecisionTransformerConfig,
  { observations, actions, rewards }: Trajectory,
  { from = 0, steps = observations.length - from, returnScale = 1, weight }: TrajectoryRowOptions = {},
): TrainingRow {
  const part = <T>(of: readonly T[]) => of.slice(from, from + steps);
  const returns = part(returnsToGo(rewards)).map((value) => value / returnScale);
  const given = part(actions);
  const row = toTokens(config, { from, observations: part(observations), actions: given, returns });
  const share = weight ?? 1 / given.length;
  const perPrediction = row.tokens.length - 1;
  const weights = Array.from({ length: perPrediction }, (_, i) => (i % 3 === 1 ? share : 0));
  if (config.discrete) return { ...row, weights };
  const targets = new Float32Array(perPrediction * config.actionSize);
  given.forEach((action, t) => {
    targets.set(vectorOf(action, from + t), (3 * t + 1) * config.actionSize);
  });
  return { ...row, weights, annotations: { actions: targets } };
}
