import { type DecisiveSettings, type Given, options } from '@posttrain/interfaces';
import type { Metrics, TrainableModel, Trainer } from '@posttrain/training';
import { gaeShape, gaeSteps } from '../advantage/gae.js';
import type { Annotator, AnnotatorContext } from '../annotator.js';
import type { Regulariser } from '../regulariser/regulariser.js';
import type { Rollout } from '../rollout.js';
import type { Stateful } from '../stateful.js';

/** What a critic is taught about one sequence. */
export interface CriticExample {
  readonly tokens: readonly number[];
  /** Indices of tokens whose state (that of all tokens up to and with it) has a target. */
  readonly at: readonly number[];
  /** R_t = A_t + V_t of these states. */
  readonly returns: readonly number[];
  /** V_t of these states as the advantages saw them: before the critic learnt from this step. */
  readonly values: readonly number[];
}

/** Anything that gives states a value: `valueModelCritic`, a `ValueModel` of `@posttrain/lm` as it is, a table, a remote model. */
export interface Critic extends Partial<Stateful> {
  readonly name: string;
  readonly settings?: DecisiveSettings;
  /** Trainers that `learn` updates, by the names that a run's checkpoints keep them under. */
  readonly trainers?: Readonly<Record<string, Trainer<TrainableModel>>>;
  /** The values of each sequence: entry t is that of the state after tokens 0 … t. */
  values(sequences: readonly (readonly number[])[]): Promise<readonly ArrayLike<number>[]>;
  /** Of one that shares the policy's trunk: the same, with the policy as it is now. It is asked in the place of `values`. */
  valuesUnder?(
    policy: Pick<AnnotatorContext, 'model' | 'adapter'>,
    sequences: readonly (readonly number[])[],
  ): Promise<readonly ArrayLike<number>[]>;
  /** Of one that learns in the policy's own loss: what is added there, for returns that are made so. */
  inLoss?(returns: CriticOptions): Regulariser;
  /** Learns from a step's returns; what it gives is logged. A critic without it stays as it is. */
  learn?(examples: readonly CriticExample[]): Promise<Metrics> | Promise<void>;
}

const criticOptions = options('criticValues', gaeShape);
/** Options of `criticValues`: how the returns are made that the critic is taught. They are to be those of the advantage. */
export type CriticOptions = Given<typeof criticOptions>;

/**
 * Gives every rollout `values` by a critic, V(s_t) of the state before each completion token, and `endValue`, that of the state
 * behind the last; teaches it the λ-returns R_t = A_t + V_t (PPO, arXiv 1707.06347) after the policy's updates.
 */
export function criticValues(critic: Critic, given: CriticOptions = {}): Annotator {
  const discounts = criticOptions.read(given);
  const { learn, state, load, trainers } = critic;
  return {
    name: `critic-values(${critic.name})`,
    settings: { ...critic.settings, ...criticOptions.settings(given) },
    gives: ['values'],
    learner: critic,
    ...(trainers && { trainers }),
    async annotate(rollouts, { model, adapter }) {
      return valuedRollouts(rollouts, critic, { model, adapter });
    },
    ...(learn && {
      learn: async (rollouts): Promise<Metrics> => {
        const examples = criticExamples(rollouts, discounts);
        return (await learn.call(critic, examples)) ?? {};
      },
    }),
    ...(state && { state: () => state.call(critic) }),
    ...(load && { load: (saved: unknown) => load.call(critic, saved) }),
  };
}

/** What a critic adds to the policy's loss; most add nothing. */
export const inLoss = (critic: Critic, returns: CriticOptions): Regulariser[] =>
  critic.inLoss ? [critic.inLoss(returns)] : [];

/** Rollouts with the values of their states, and that of the one behind the last token. */
export async function valuedRollouts<R extends Pick<Rollout, 'promptTokens' | 'completionTokens'>>(
  rollouts: readonly R[],
  critic: Critic,
  policy: Pick<AnnotatorContext, 'model' | 'adapter'>,
): Promise<(R & Required<Pick<Rollout, 'values' | 'endValue'>>)[]> {
  const sequences = rollouts.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
  const values = await (critic.valuesUnder?.(policy, sequences) ?? critic.values(sequences));
  return rollouts.map((rollout, i) => {
    const first = rollout.promptTokens.length - 1;
    return {
      ...rollout,
      values: rollout.completionTokens.map((_, t) => values[i]![first + t]!),
      endValue: values[i]![first + rollout.completionTokens.length]!,
    };
  });
}

/** What a critic is taught about rollouts that have values; one without steps teaches nothing. */
export function criticExamples(rollouts: readonly Rollout[], discounts: CriticOptions): CriticExample[] {
  const steps = gaeSteps(rollouts, discounts);
  return rollouts.flatMap(({ promptTokens, completionTokens }, i): CriticExample[] => {
    const { at, values, advantages } = steps[i]!;
    if (at.length === 0) return [];
    const returns = advantages.map((advantage, t) => advantage + values[t]!);
    const tokens = [...promptTokens, ...completionTokens];
    return [{ tokens, at: at.map((t) => promptTokens.length - 1 + t), returns, values }];
  });
}
