import { Key } from '@posttrain/core-tensor';
import { custom, type Given, integer, options } from '@posttrain/interfaces';
import type { NumericEnvironment, NumericEpisode } from './numeric-environment.js';

/** What was done in an environment of numbers: one entry a time step each. */
export interface Trajectory {
  /** What was seen before each action. */
  readonly observations: readonly ArrayLike<number>[];
  /** The index of a choice, or a vector. */
  readonly actions: readonly (number | ArrayLike<number>)[];
  readonly rewards: readonly number[];
}

/** Who acts in an environment of numbers. */
export interface NumericPolicy {
  readonly name: string;
  /**
   * The next action of each of several episodes that are at the same time step. Each has one observation more than
   * actions; what is drawn comes from its key.
   */
  act(
    episodes: readonly Trajectory[],
    keys: readonly Key[],
  ): readonly (number | ArrayLike<number>)[] | Promise<readonly (number | ArrayLike<number>)[]>;
}

const playOptions = options('play', {
  environment: custom<NumericEnvironment>()(
    'an environment of numbers: { name, observationSize, actions, start }',
    (value) => typeof (value as Partial<NumericEnvironment> | null)?.start === 'function',
    {},
  ),
  policy: custom<NumericPolicy>()(
    'a policy: { name, act }',
    (value) => typeof (value as Partial<NumericPolicy> | null)?.act === 'function',
    {},
  ),
  /** How many, side by side. */
  episodes: integer({ min: 1 }),
  /** An episode that has not ended by itself ends after so many steps. */
  maxSteps: integer({ min: 1 }),
  /** Of all that environment and policy draw. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `play`. */
export type PlayOptions = Given<typeof playOptions>;

/**
 * Episodes of a policy in an environment of numbers, played side by side: offline data, or how good a policy is.
 * @throws OptionError
 */
export async function play(given: PlayOptions): Promise<Trajectory[]> {
  const { environment, policy, episodes, maxSteps, seed } = playOptions.read(given);
  const key = Key.fromSeed(seed);
  const running: { readonly episode: NumericEpisode; readonly key: Key }[] = [];
  const [played, active] = [[] as Playing[], new Set<number>()];
  try {
    for (let sample = 0; sample < episodes; sample++) {
      const own = key.child(sample);
      running.push({ episode: await environment.start({ sample, step: 0, key: own.child(0) }), key: own.child(1) });
      played.push({ observations: [running[sample]!.episode.observation], actions: [], rewards: [] });
      active.add(sample);
    }
    for (let step = 0; step < maxSteps && active.size > 0; step++) {
      const at = [...active];
      const keys = at.map((i) => running[i]!.key.child(step));
      const actions = await policy.act(
        at.map((i) => played[i]!),
        keys,
      );
      for (const [order, i] of at.entries()) {
        const { observation, reward, terminated, truncated } = await running[i]!.episode.step(actions[order]!);
        played[i]!.actions.push(actions[order]!);
        played[i]!.rewards.push(reward);
        if (terminated || truncated || step === maxSteps - 1) active.delete(i);
        else played[i]!.observations.push(observation);
      }
    }
  } finally {
    for (const { episode } of running) await episode.close?.();
  }
  return played;
}

interface Playing {
  readonly observations: ArrayLike<number>[];
  readonly actions: (number | ArrayLike<number>)[];
  readonly rewards: number[];
}

/** What an episode was worth. */
export const returnOf = ({ rewards }: Trajectory): number => rewards.reduce((sum, reward) => sum + reward, 0);
