import { compile, Key, scalar, type Tensor, tensor } from '@posttrain/core-tensor';
import { adam } from '@posttrain/core-tensor/optim';
import {
  custom,
  type Given,
  integer,
  listOf,
  number,
  OptionError,
  options,
  PosttrainError,
} from '@posttrain/interfaces';
import type { NumericEnvironment, NumericEpisode } from '../rollout/numeric-environment.js';
import type { NumericPolicy } from '../rollout/play.js';
import { type ReplayBuffer, replayBuffer, type Transition } from './replay-buffer.js';
import {
  checkpointOf,
  resumedFrom,
  type SoftActorCriticCheckpoint,
  settingsTextOf,
} from './soft-actor-critic-checkpoint.js';
import {
  actorOutput,
  type SoftActorCriticParameters,
  type SoftActorCriticState,
  softActorCriticParameters,
  softActorCriticUpdate,
  type TransitionBatch,
} from './soft-actor-critic-losses.js';

/** Transitions that a model has made up, to learn from beside the real ones. */
export interface ImaginedTransitions {
  readonly name: string;
  /** α: how many imagined transitions a batch has for every real one. 0: none is asked for. */
  readonly share: number;
  /** What is imagined after a step of the environment; it is put into a buffer of its own. Nothing: []. */
  imagine(context: ImaginationContext): Promise<readonly Transition[]>;
}

/** What `imagine` knows. */
export interface ImaginationContext {
  /** Steps of the environment so far. */
  readonly step: number;
  /** The real transitions. */
  readonly replay: ReplayBuffer;
  /** Actions that the policy draws in observations. */
  act(observations: readonly ArrayLike<number>[], key: Key): Promise<number[][]>;
  readonly key: Key;
}

/** The options of `softActorCritic`, which `diclSac` shares. */
export const softActorCriticShape = {
  environment: custom<NumericEnvironment>()(
    'an environment of numbers whose actions are vectors within bounds (actions.kind "box")',
    (value) => (value as Partial<NumericEnvironment> | null)?.actions?.kind === 'box',
    { settings: ({ name, settings }) => ({ name, ...settings }) },
  ),
  /** Steps of the environment. */
  steps: integer({ min: 1 }),
  /** Steps with actions drawn evenly, before anything is learnt. Default 100. */
  learningStarts: integer({ default: 100, min: 1 }),
  /** Updates after each step. Default 1. */
  updatesPerStep: integer({ default: 1, min: 1 }),
  /** Transitions of an update. Default 256. */
  batchSize: integer({ default: 256, min: 1 }),
  /** Transitions that are remembered. Default 1,000,000. */
  bufferSize: integer({ default: 1_000_000, min: 1 }),
  /** γ. Default 0.99. */
  gamma: number({ default: 0.99, min: 0, max: 1 }),
  /** How far the targets go towards the critics in an update. Default 0.005. */
  tau: number({ default: 0.005, above: 0, max: 1 }),
  /** Widths of the hidden layers of all networks. Default [256, 256]. */
  hidden: listOf(integer({ min: 1 }), { default: [256, 256] }),
  /** Of Adam, for all networks. Default 3e-4. */
  learningRate: number({ default: 3e-4, above: 0 }),
  /** α, the price of certainty, kept as it is. Default: learnt, from `initialAlpha`. */
  alpha: number({ above: 0, optional: true }),
  /** Where a learnt α begins. Default 1. */
  initialAlpha: number({ default: 1, above: 0 }),
  /** H̄: the entropy, in nats, that a learnt α asks for. Default −1 for each number of an action. */
  targetEntropy: number({ optional: true }),
  /** Of the networks, the environment and all that is drawn. Default 0. */
  seed: integer({ default: 0, min: 0 }),
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, {
    optional: true,
    decisive: false,
  }),
  /** Told the return of each episode as it ends. */
  onEpisode: custom<(episode: EpisodeReturn) => void>()('a function', (value) => typeof value === 'function', {
    optional: true,
    decisive: false,
  }),
  /** Given a checkpoint after every `checkpointEpisodes` episodes; the run waits for it. */
  onCheckpoint: custom<(checkpoint: SoftActorCriticCheckpoint) => void | Promise<void>>()(
    'a function',
    (value) => typeof value === 'function',
    { optional: true, decisive: false },
  ),
  /** Episodes between two checkpoints, each of which copies the whole replay buffer. Default 1. */
  checkpointEpisodes: integer({ default: 1, min: 1, decisive: false }),
  /** Go on from here: what `onCheckpoint` was given, by a run with the same options but for `steps`. It ends with the same numbers as one that was never stopped. */
  checkpoint: custom<SoftActorCriticCheckpoint>()(
    'a checkpoint, as onCheckpoint gets it',
    (value) => typeof (value as Partial<SoftActorCriticCheckpoint> | null)?.settings === 'string',
    { optional: true, decisive: false },
  ),
};

const sacOptions = options('softActorCritic', {
  ...softActorCriticShape,
  /** Transitions of a model, to learn from beside the real ones (`diclSac` makes them). Default: none. */
  imagined: custom<ImaginedTransitions>()(
    'imagined transitions ({ name, share, imagine })',
    (value) =>
      typeof (value as Partial<ImaginedTransitions> | null)?.imagine === 'function' &&
      (value as ImaginedTransitions).share >= 0,
    { optional: true, settings: ({ name, share }) => ({ name, share }) },
  ),
});
/** Options of `softActorCritic`. */
export type SoftActorCriticOptions = Given<typeof sacOptions>;

/** What an episode was worth. */
export interface EpisodeReturn {
  /** Steps of the environment at its end. */
  readonly step: number;
  readonly return: number;
}

/** What `softActorCritic` gives. */
export interface SoftActorCriticResult {
  /** Acts by the mean of the actor, tanh μ(s). */
  readonly policy: NumericPolicy;
  /** Of the episodes that ended, in order. */
  readonly returns: readonly EpisodeReturn[];
  /** Losses and α of the last update, and how many updates there were. */
  readonly last: {
    readonly updates: number;
    readonly critic: number;
    readonly actor: number;
    readonly temperature: number;
    readonly alpha: number;
  };
  readonly parameters: SoftActorCriticParameters;
}

const powerOfTwo = (value: number): number => 2 ** Math.ceil(Math.log2(value));

/** A grid of rows as float32 [rows, width], with rows of 0 below up to `height`. */
function grid(rows: readonly ArrayLike<number>[], width: number, height = rows.length): Tensor {
  const values = new Float32Array(height * width);
  rows.forEach((row, i) => {
    for (let j = 0; j < width; j++) values[i * width + j] = row[j]!;
  });
  return tensor(values, [height, width]);
}

/**
 * Soft actor-critic (arXiv 1801.01290; with two critics and a learnt α arXiv 1812.05905): an actor a = tanh(μ(s) + σ(s) ε) that maximises E[min_i Q_i(s, a)
 * − α log π(a|s)], and critics that learn r + γ (min_i Q'_i(s', a') − α log π(a'|s')), from transitions of all policies so far. The order of an update and
 * its losses are Stable-Baselines3's; log(1 − tanh²) is exact where that adds 1e-6.
 *
 * @throws OptionError; PosttrainError `DIVERGED` for a loss that is no number, `ABORTED` where the signal fires, `CHECKPOINT` for one of other options; what the
 *   environment throws
 */
export async function softActorCritic(given: SoftActorCriticOptions): Promise<SoftActorCriticResult> {
  const settings = sacOptions.read(given);
  const { environment, batchSize, gamma, tau, imagined, signal } = settings;
  const { low, high } = boundsOf(environment);
  const [observation, action] = [environment.observationSize, low.length];
  const centre = low.map((l, j) => (l + high[j]!) / 2);
  const half = low.map((l, j) => (high[j]! - l) / 2);
  const key = Key.fromSeed(settings.seed);
  const [networkKey, stepKey, updateKey, episodeKey] = [0, 1, 2, 3].map((i) => key.child(i)) as [Key, Key, Key, Key];

  const optimizer = adam();
  const text = settingsTextOf(sacOptions.settings(given));
  const capacity = settings.bufferSize;
  const resumed =
    settings.checkpoint &&
    (await resumedFrom(settings.checkpoint, { settings: text, steps: settings.steps, capacity }));
  const logAlpha = tensor(new Float32Array([Math.log(settings.alpha ?? settings.initialAlpha)]), [1]);
  const first = softActorCriticParameters({ observation, action, hidden: settings.hidden }, logAlpha, networkKey);
  let state: SoftActorCriticState<ReturnType<typeof optimizer.init>> = (resumed?.state as typeof state) ?? {
    ...first,
    optimizers: {
      actor: optimizer.init(first.actor),
      critic: optimizer.init(first.critic),
      temperature: optimizer.init(first.temperature),
    },
  };
  const update = compile(
    (before: typeof state, batch: TransitionBatch, rate: Tensor) =>
      softActorCriticUpdate(
        before,
        batch,
        {
          optimizer,
          gamma,
          tau,
          targetEntropy: settings.targetEntropy ?? -action,
          learnsAlpha: settings.alpha === undefined,
        },
        { actor: rate, critic: rate, temperature: rate },
      ),
    { name: 'softActorCritic', donate: { 0: 'state' } },
  );
  const forward = compile(
    (actor: SoftActorCriticParameters['actor'], observations: Tensor, noise: Tensor) => {
      const { mean, logStd } = actorOutput(actor, observations);
      return mean.add(logStd.exp().mul(noise)).tanh();
    },
    { name: 'softActorCriticActor' },
  );
  /** Actions in an environment's units, with noise or (without a key) without. */
  const act = async (observations: readonly ArrayLike<number>[], noiseKey?: Key): Promise<number[][]> => {
    const rows = powerOfTwo(Math.max(1, observations.length));
    const noise = noiseKey ? noiseKey.normalHost(rows * action) : new Float32Array(rows * action);
    const output = await forward(state.actor, grid(observations, observation, rows), tensor(noise, [rows, action]));
    const data = await output.data();
    return observations.map((_, i) => centre.map((c, j) => c + half[j]! * data[i * action + j]!));
  };

  const replay = resumed?.replay ?? replayBuffer({ capacity });
  const imaginary = resumed?.imagined ?? replayBuffer({ capacity });
  const learn = async (own: Key) => {
    const real = replay.sample(batchSize, own.child(0));
    const wanted = Math.round((imagined?.share ?? 0) * batchSize);
    const made = wanted > 0 && imaginary.size > 0 ? imaginary.sample(wanted, own.child(1)) : [];
    const rows = [...real, ...made];
    // What is imagined has noise of its own: the real rows see the same with it and without.
    const noiseOf = (i: number) => {
      const values = new Float32Array(rows.length * action);
      values.set(own.child(i).normalHost(batchSize * action));
      if (made.length > 0) values.set(own.child(i + 2).normalHost(made.length * action), batchSize * action);
      return tensor(values, [rows.length, action]);
    };
    const column = (of: (row: Transition) => number) =>
      grid(
        rows.map((row) => [of(row)]),
        1,
      );
    const result = await update(
      state,
      {
        observations: grid(
          rows.map((row) => row.observation),
          observation,
        ),
        actions: grid(
          rows.map((row) => centre.map((c, j) => (row.action[j]! - c) / half[j]!)),
          action,
        ),
        rewards: column((row) => row.reward),
        nextObservations: grid(
          rows.map((row) => row.nextObservation),
          observation,
        ),
        dones: column((row) => (row.terminated ? 1 : 0)),
        weights: column(() => 1 / batchSize),
        ...{ noise: noiseOf(2), nextNoise: noiseOf(3) },
      },
      scalar(settings.learningRate),
    );
    state = result.state;
    return result.losses;
  };

  const returns: EpisodeReturn[] = [...(resumed?.returns ?? [])];
  let [updates, episodes, sum] = [resumed?.updates ?? 0, returns.length, 0];
  let losses: Awaited<ReturnType<typeof learn>> | undefined;
  let episode: NumericEpisode | undefined;
  let seen: ArrayLike<number> = [];
  try {
    for (let step = resumed?.step ?? 0; step < settings.steps; step++) {
      if (signal?.aborted)
        throw new PosttrainError('ABORTED', `softActorCritic: stopped by its signal after ${step} steps`);
      const own = stepKey.child(step);
      if (!episode) {
        episode = await environment.start({ sample: episodes, step, key: episodeKey.child(episodes), signal });
        [seen, sum] = [episode.observation, 0];
        episodes++;
      }
      const isRandom = step < settings.learningStarts;
      const chosen = isRandom
        ? Array.from(own.uniformHost(action), (u, j) => low[j]! + u * (high[j]! - low[j]!))
        : (await act([seen], own.child(0)))[0]!;
      const { observation: next, reward, terminated, truncated } = await episode.step(chosen);
      const isLast = terminated || truncated === true;
      replay.add({ observation: seen, action: chosen, reward, nextObservation: next, terminated, isLast });
      [seen, sum] = [next, sum + reward];
      if (isLast) {
        await episode.close?.();
        episode = undefined;
        const ended = { step: step + 1, return: sum };
        returns.push(ended);
        settings.onEpisode?.(ended);
      }
      if (!isRandom) {
        if (imagined && imagined.share > 0) {
          const made = await imagined.imagine({ step: step + 1, replay, act, key: own.child(1) });
          for (const one of made) imaginary.add(one);
        }
        for (let i = 0; i < settings.updatesPerStep; i++) losses = await learn(updateKey.child(updates++));
      }
      if (!isLast) continue;
      // Losses are looked at once an episode: to read them costs a wait.
      if (losses && !Number.isFinite(await losses.critic.item())) throw diverged(step + 1);
      if (!settings.onCheckpoint || returns.length % settings.checkpointEpisodes !== 0) continue;
      const run = { step: step + 1, updates, returns, state, settings: text };
      await settings.onCheckpoint(await checkpointOf({ ...run, replay, imagined: imaginary }));
    }
  } finally {
    await episode?.close?.();
  }
  const of = async (name: 'critic' | 'actor' | 'temperature' | 'alpha') =>
    losses ? await losses[name].item() : Number.NaN;
  const last = {
    updates,
    critic: await of('critic'),
    actor: await of('actor'),
    temperature: await of('temperature'),
    alpha: await of('alpha'),
  };
  if (losses && !Number.isFinite(last.critic)) throw diverged(settings.steps);
  const policy: NumericPolicy = {
    name: 'soft-actor-critic',
    act: (running) => act(running.map(({ observations }) => observations.at(-1)!)),
  };
  return { policy, returns, last, parameters: state };
}

const diverged = (steps: number) =>
  new PosttrainError(
    'DIVERGED',
    `softActorCritic: the critics' loss is no number after ${steps} steps; lower learningRate, or see that rewards and observations are numbers`,
  );

/** @throws OptionError for bounds that leave nothing between them */
function boundsOf({ actions, name }: NumericEnvironment): { low: readonly number[]; high: readonly number[] } {
  if (actions.kind === 'box') {
    const { low, high } = actions;
    const isGood =
      low.length > 0 &&
      low.length === high.length &&
      low.every((l, j) => Number.isFinite(l) && Number.isFinite(high[j]) && l < high[j]!);
    if (isGood) return { low, high };
  }
  const problem = `${name} must have actions with as many lower bounds as upper ones, each finite and below its upper one.`;
  throw new OptionError('INVALID_OPTION', 'softActorCritic', 'environment', problem);
}
