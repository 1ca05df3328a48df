import type { DecisiveSettings } from '@posttrain/interfaces';
import type { EpisodeContext } from './environment.js';

/** What can be done in an environment of numbers: one of `count` choices, or a vector within bounds. */
export type ActionSpace =
  | { readonly kind: 'discrete'; readonly count: number }
  | { readonly kind: 'box'; readonly low: readonly number[]; readonly high: readonly number[] };

/** What followed an action. */
export interface NumericStep {
  readonly observation: ArrayLike<number>;
  readonly reward: number;
  /** The episode is over: what comes behind is worth 0. */
  readonly terminated: boolean;
  /** The episode was cut off: what would have come behind has a value still, which a critic is asked for. */
  readonly truncated?: boolean;
}

/** One run through an environment of numbers. */
export interface NumericEpisode {
  /** What is seen before the first action. */
  readonly observation: ArrayLike<number>;
  /** @param action the index of a choice, or a vector */
  step(action: number | ArrayLike<number>): NumericStep | Promise<NumericStep>;
  /** Called once, whatever happens. */
  close?(): void | Promise<void>;
}

/**
 * A world of numeric observations and actions, as Gymnasium has them: a gridworld, a cart with a pole, a robot. Its policy is no
 * language model; the advantages, ratios and surrogates are the same.
 */
export interface NumericEnvironment {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Numbers in an observation. */
  readonly observationSize: number;
  readonly actions: ActionSpace;
  start(context: EpisodeContext): NumericEpisode | Promise<NumericEpisode>;
}
