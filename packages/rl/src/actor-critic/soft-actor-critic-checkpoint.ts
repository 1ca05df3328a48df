import { PosttrainError } from '@posttrain/interfaces';
import { copyState } from '@posttrain/training';
import { type ReplayBuffer, replayBuffer, type Transition } from './replay-buffer.js';
import type { EpisodeReturn } from './soft-actor-critic.js';

/**
 * A run of `softActorCritic` between two episodes: JSON, arrays and tensors, which `splitState` and `joinState` of `@posttrain/training` take apart for files and
 * put together again. Everything that a run draws is a function of its seed and the step, so that no state of a random generator is here.
 */
export interface SoftActorCriticCheckpoint {
  /** Steps of the environment that were made. */
  readonly step: number;
  readonly updates: number;
  readonly returns: readonly EpisodeReturn[];
  /** Networks, targets, α and what Adam keeps. */
  readonly state: unknown;
  /** Real transitions, and imagined ones, the oldest first. */
  readonly replay: readonly Transition[];
  readonly imagined: readonly Transition[];
  /** Options of the run that decide its numbers, as JSON; `steps` is none of them. */
  readonly settings: string;
}

const transitionsOf = (buffer: ReplayBuffer): readonly Transition[] =>
  Array.from({ length: buffer.size }, (_, i) => buffer.at(i));

/** A checkpoint with memory of its own. */
export async function checkpointOf(
  run: Omit<SoftActorCriticCheckpoint, 'replay' | 'imagined'> & {
    readonly replay: ReplayBuffer;
    readonly imagined: ReplayBuffer;
  },
): Promise<SoftActorCriticCheckpoint> {
  const { replay, imagined, ...rest } = run;
  const parts = { ...rest, replay: transitionsOf(replay), imagined: transitionsOf(imagined) };
  return (await copyState(parts, 'the state of softActorCritic')) as SoftActorCriticCheckpoint;
}

/** What goes on from a checkpoint, which stays as it is. @throws PosttrainError CHECKPOINT for one of a run with other options, or that is further on */
export async function resumedFrom(
  given: SoftActorCriticCheckpoint,
  { settings, steps, capacity }: { readonly settings: string; readonly steps: number; readonly capacity: number },
) {
  const wrong = (problem: string) => new PosttrainError('CHECKPOINT', `softActorCritic: the checkpoint ${problem}`);
  if (given.settings !== settings) {
    throw wrong(`is of a run with other options: ${given.settings}, and these are ${settings}; give it the same ones`);
  }
  if (given.step > steps) throw wrong(`is of step ${given.step}, and steps is ${steps}; ask for more`);
  const own = (await copyState(given, 'the checkpoint of softActorCritic')) as SoftActorCriticCheckpoint;
  const bufferOf = (transitions: readonly Transition[]): ReplayBuffer => {
    const buffer = replayBuffer({ capacity });
    for (const one of transitions) buffer.add(one);
    return buffer;
  };
  return { ...own, replay: bufferOf(own.replay), imagined: bufferOf(own.imagined) };
}

/** The options of a run that decide its numbers, but for how long it is. */
export const settingsTextOf = ({ steps: _, ...settings }: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(settings);
