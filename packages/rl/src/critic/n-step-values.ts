import { type Given, options } from '@posttrain/interfaces';
import type { Metrics } from '@posttrain/training';
import { nStepTargets } from '../advantage/n-step.js';
import type { Annotator } from '../annotator.js';
import { nStepShape } from '../td/n-step-returns.js';
import { type Critic, type CriticExample, criticValues } from './critic-values.js';

const nStepValuesOptions = options('nStepValues', nStepShape);
/** Options of `nStepValues`: how the returns are made that the critic is taught. They are to be those of the advantage. */
export type NStepValuesOptions = Given<typeof nStepValuesOptions>;

/**
 * `criticValues` whose critic is taught the returns of `nStepAdvantage` (A2C, A3C; arXiv 1602.01783), and not those of GAE.
 *
 * @throws OptionError
 */
export function nStepValues(critic: Critic, given: NStepValuesOptions = {}): Annotator {
  nStepValuesOptions.read(given);
  const { learn: _, ...annotator } = criticValues(critic);
  const { learn } = critic;
  return {
    ...annotator,
    name: `n-step-values(${critic.name})`,
    settings: { ...critic.settings, ...nStepValuesOptions.settings(given) },
    ...(learn && {
      learn: async (rollouts): Promise<Metrics> => {
        const examples = rollouts.flatMap((rollout): CriticExample[] => {
          const { at, values, returns } = nStepTargets(rollout, given);
          const first = rollout.promptTokens.length - 1;
          const tokens = [...rollout.promptTokens, ...rollout.completionTokens];
          return at.length === 0 ? [] : [{ tokens, at: at.map((t) => first + t), returns, values }];
        });
        return (await learn.call(critic, examples)) ?? {};
      },
    }),
  };
}
