import { Key } from '@posttrain/core-tensor';
import { custom, type Given, integer, number, options, PosttrainError } from '@posttrain/interfaces';
import {
  contentHash,
  createTrainer,
  hookShape,
  planRates,
  type RunResult,
  runSteps,
  type Trainer,
  trainingIdentity,
  trainingShape,
  update,
} from '@posttrain/training';
import type { Trajectory } from '../../rollout/play.js';
import { DecisionTransformer } from './decision-transformer.js';
import { trajectoryRow } from './trajectories.js';

const isTrajectory = (value: unknown): boolean =>
  ['observations', 'actions', 'rewards'].every((name) =>
    Array.isArray((value as Record<string, unknown> | null)?.[name]),
  );

const { adapter: _, ...shared } = trainingShape;

/** The declared options of `trainDecisionTransformer`. */
export const decisionTransformerOptions = options('trainDecisionTransformer', {
  ...shared,
  ...hookShape<DecisionTransformer>(),
  /** What is trained: all of it. */
  model: custom<DecisionTransformer>()(
    'a DecisionTransformer (await DecisionTransformer.initialize(config) makes one)',
    (value) => value instanceof DecisionTransformer,
    { decisive: false },
  ),
  /** What policies of any kind did. */
  trajectories: custom<readonly Trajectory[]>()(
    'a list of { observations, actions, rewards }',
    (value) => Array.isArray(value) && value.length > 0 && value.every(isTrajectory),
    { decisive: false },
  ),
  /** Updates. */
  steps: integer({ min: 1 }),
  /** Pieces of trajectories an update. Default 64. */
  batchSize: integer({ default: 64, min: 1 }),
  /** Time steps in a piece: K of the paper. Default 20. */
  contextLength: integer({ default: 20, min: 1 }),
  /** Returns are divided by it, so that the model reads numbers of about 1. Default 1. */
  returnScale: number({ default: 1, above: 0 }),
  /** The peak rate. Default 1e-4. */
  learningRate: number({ default: 1e-4, min: 0 }),
});
/** Options of `trainDecisionTransformer`. */
export type DecisionTransformerOptions = Given<typeof decisionTransformerOptions>;

/** What `trainDecisionTransformer` gives. */
export interface DecisionTransformerResult extends RunResult {
  readonly trainer: Trainer<DecisionTransformer>;
  /** With the trained weights. */
  readonly model: DecisionTransformer;
}

/**
 * Trains a Decision Transformer on trajectories (arXiv 2106.01345, algorithm 1): pieces of K steps, each trajectory
 * being drawn as often as it is long, and each of its first steps as likely as any other.
 *
 * It is a step for `runSteps`, with checkpoints, resumption and hooks as in any run.
 *
 * @throws OptionError, PosttrainError TRAJECTORY, and what `runSteps` throws
 */
export async function trainDecisionTransformer(given: DecisionTransformerOptions): Promise<DecisionTransformerResult> {
  const settings = decisionTransformerOptions.read(given);
  const { model, trajectories, steps, batchSize, contextLength, returnScale, seed } = settings;
  if (3 * contextLength > model.config.maxPositionEmbeddings) {
    throw new PosttrainError(
      'TRAJECTORY',
      `3 tokens for each of ${contextLength} time steps are more than n_positions`,
    );
  }
  const rateOf = planRates('trainDecisionTransformer', settings, steps);
  const trainer = await createTrainer('trainDecisionTransformer', settings);
  // Every time step of all trajectories is one place, which a piece may begin at.
  const ends: number[] = [];
  for (const { actions } of trajectories) ends.push((ends.at(-1) ?? 0) + actions.length);
  const key = Key.fromSeed(seed);

  const step = async (index: number) => {
    const pieces = Array.from(key.child(index).uniformHost(batchSize), (draw) => {
      const place = Math.min(ends.at(-1)! - 1, Math.floor(draw * ends.at(-1)!));
      const i = ends.findIndex((end) => place < end);
      const { actions } = trajectories[i]!;
      return { trajectory: trajectories[i]!, from: place - (ends[i]! - actions.length) };
    });
    const lengthOf = ({ trajectory, from }: (typeof pieces)[number]) =>
      Math.min(contextLength, trajectory.actions.length - from);
    const weight = 1 / pieces.reduce((sum, piece) => sum + lengthOf(piece), 0);
    const rows = pieces.map((piece) => {
      return trajectoryRow(model.config, piece.trajectory, {
        from: piece.from,
        steps: lengthOf(piece),
        returnScale,
        weight,
      });
    });
    const learningRate = rateOf(index);
    const { loss, metrics, gradNorm } = await update(trainer, rows, model.loss, learningRate);
    return { loss, ...metrics, grad_norm: gradNorm, learning_rate: learningRate };
  };

  const result = await runSteps(
    {
      ...{ stage: 'trainDecisionTransformer', trainer, model, adapter: undefined, steps, state: {}, step },
      settings: () => ({
        ...trainingIdentity('trainDecisionTransformer', decisionTransformerOptions.settings(given), settings),
        trajectories: contentHash(trajectories),
      }),
    },
    settings,
  );
  return { ...result, trainer, model: trainer.model };
}
