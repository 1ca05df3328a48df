import { custom, type Given, integer, number, oneOf, options } from '@posttrain/interfaces';
import type { Transition } from '../actor-critic/replay-buffer.js';
import {
  type ImaginedTransitions,
  type SoftActorCriticResult,
  softActorCritic,
  softActorCriticShape,
} from '../actor-critic/soft-actor-critic.js';
import { stateActionRows } from './dicl.js';
import type { InContextDynamics } from './in-context-dynamics.js';

/** A way to predict, in options. */
export const dynamicsOption = custom<InContextDynamics>()(
  'dynamics in context (vicl({ model }) or dicl({ model }) makes them)',
  (value) => typeof (value as Partial<InContextDynamics> | null)?.predict === 'function',
  { settings: ({ name }) => name },
);

/** What the rows of a prediction are. */
export const featuresOption = oneOf(['states', 'states and actions'], { default: 'states' });

const diclSacOptions = options('diclSac', {
  ...softActorCriticShape,
  dynamics: dynamicsOption,
  /** What is predicted from: with `dicl`, DICL-(s) or DICL-(s, a). Default `states`. */
  features: featuresOption,
  /** α: imagined transitions beside each real one. Default 25 / 256, as the authors have it; 0 is SAC. */
  share: number({ default: 25 / 256, min: 0 }),
  /** Transitions of an episode that are a context: T. Default 100. */
  contextLength: integer({ default: 100, min: 2 }),
  /** Steps of the environment between two contexts. Default 32. */
  every: integer({ default: 32, min: 1 }),
  /** Predictions at the begin of a context that are left out. Default 0. */
  burnIn: integer({ default: 0, min: 0 }),
  /** The share of a context's predictions that are kept, those nearest to what came. Default 1: all. */
  keep: number({ default: 1, above: 0, max: 1 }),
  /**
   * The action of an imagined transition: the one that was taken, or one that the policy draws anew in the state, as the authors have it by default
   * (the prediction then stands for the policy, not for the action). Default `taken`.
   */
  actions: oneOf(['taken', 'drawn'], { default: 'taken' }),
});
/** Options of `diclSac`. */
export type DiclSacOptions = Given<typeof diclSacOptions>;

/**
 * DICL-SAC (arXiv 2410.11711, algorithm 1): every so many steps a piece of an episode in the replay buffer is the context of a model of series, and (s_t, a_t,
 * r_t, ŝ_{t+1}) with its predictions of the next states go into a second buffer, of which α · b are learnt from beside b real transitions. The loss is the
 * sum of both, each over b, in one update; the authors' code makes two updates by Adam, in which the factor α of the second hardly counts.
 *
 * With `share` 0 it is `softActorCritic`, number by number.
 *
 * @throws what `softActorCritic` and the dynamics throw
 */
export async function diclSac(given: DiclSacOptions): Promise<SoftActorCriticResult> {
  const settings = diclSacOptions.read(given);
  const { dynamics, features, share, contextLength, every, burnIn, keep, actions, ...rest } = settings;
  const imagined: ImaginedTransitions = {
    name: dynamics.name,
    share,
    async imagine({ step, replay, act, key }) {
      if (step % every !== 0) return [];
      const context = replay.window(contextLength, key.child(0));
      if (!context) return [];
      const observations = context.map(({ observation }) => observation);
      const taken = context.map(({ action }) => action);
      const { mean } = await dynamics.predict(
        features === 'states' ? observations : stateActionRows(observations, taken),
      );
      const states = mean.map((row) => row.slice(0, rest.environment.observationSize));
      const errors = states.map((state, t) => distance(state, context[t]!.nextObservation));
      const order = errors.map((_, t) => t).filter((t) => t >= burnIn);
      order.sort((a, b) => errors[a]! - errors[b]!);
      const kept = order.slice(0, Math.round(keep * order.length)).sort((a, b) => a - b);
      const drawn = actions === 'drawn' ? await act(observations, key.child(1)) : taken;
      return kept.map(
        (t): Transition => ({
          ...{
            observation: observations[t]!,
            action: drawn[t]!,
            reward: context[t]!.reward,
            nextObservation: states[t]!,
          },
          ...{ terminated: false, isLast: false },
        }),
      );
    },
  };
  return softActorCritic({ ...rest, imagined });
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.sqrt(Array.from(a).reduce((sum, x, j) => sum + (x - b[j]!) ** 2, 0));
