import { type DecisiveSettings, type Given, options } from '@posttrain/interfaces';
import { gaeShape, generalizedAdvantages, stepsOf } from '../advantage/gae.js';
import type { Annotator } from '../annotator.js';
import type { Stateful } from '../stateful.js';

/** What a critic is taught about one sequence. */
export interface CriticExample {
  readonly tokens: readonly number[];
  /** Indices of tokens whose state (that of all tokens up to and with it) has a target. */
  readonly at: readonly number[];
  /** R_t = A_t + V_t of these states. */
  readonly returns: readonly number[];
}

/** Anything that gives states a value: a `ValueModel` of `@posttrain/lm`, a table, a remote model. */
export interface Critic extends Partial<Stateful> {
  readonly name: string;
  readonly settings?: DecisiveSettings;
  /** The values of each sequence: entry t is that of the state after tokens 0 … t. */
  values(sequences: readonly (readonly number[])[]): Promise<readonly ArrayLike<number>[]>;
  /** Learns from a step's returns. A critic without it stays as it is. */
  learn?(examples: readonly CriticExample[]): Promise<void>;
}

const criticOptions = options('criticValues', gaeShape);
/** Options of `criticValues`: how the returns are made that the critic is taught. */
export type CriticOptions = Given<typeof criticOptions>;

/**
 * Gives every rollout `values` by a critic, V(s_t) of the state before each completion token, and teaches it the λ-returns
 * R_t = A_t + V_t (PPO, arXiv 1707.06347) after the policy's updates.
 */
export function criticValues(critic: Critic, given: CriticOptions = {}): Annotator {
  const discounts = criticOptions.read(given);
  const { learn, state, load } = critic;
  return {
    name: `critic-values(${critic.name})`,
    settings: { ...critic.settings, ...criticOptions.settings(given) },
    gives: ['values'],
    async annotate(rollouts) {
      const sequences = rollouts.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
      const values = await critic.values(sequences);
      return rollouts.map((rollout, i) => ({
        ...rollout,
        values: rollout.completionTokens.map((_, t) => values[i]![rollout.promptTokens.length - 1 + t]!),
      }));
    },
    ...(learn && {
      learn: async (rollouts) => {
        const scorable = rollouts.filter(({ reward }) => reward !== null);
        await learn.call(
          critic,
          scorable.map((rollout) => {
            const { promptTokens, completionTokens } = rollout;
            const { at, rewards, values } = stepsOf(rollout, discounts);
            const advantages = generalizedAdvantages(rewards, values, discounts);
            return {
              tokens: [...promptTokens, ...completionTokens],
              at: at.map((t) => promptTokens.length - 1 + t),
              returns: advantages.map((advantage, i) => advantage + values[i]!),
            };
          }),
        );
      },
    }),
    ...(state && { state: () => state.call(critic) }),
    ...(load && { load: (saved: unknown) => load.call(critic, saved) }),
  };
}
