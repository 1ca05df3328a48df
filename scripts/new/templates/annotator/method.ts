import { type Given, number, options } from '@posttrain/interfaces';
import type { Annotator } from '@posttrain/rl';

const myMethodOptions = options('myMethod', {
  /** What is left of the mean after a step. Default 0.9. */
  decay: number({ default: 0.9, min: 0, below: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * Gives every rollout the running mean of the run's rewards as its `baseline` (arXiv 0000.00000): b ← decay · b + (1 - decay) · mean r
 * after each step, 0 before the first. Rollouts that are not scorable have no part in it. b is its state.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): Annotator {
  const { decay } = myMethodOptions.read(given);
  let baseline = 0;
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    gives: ['baseline'],
    annotate: async (rollouts) => rollouts.map((rollout) => ({ ...rollout, baseline })),
    async learn(rollouts) {
      const rewards = rollouts.flatMap(({ reward }) => reward ?? []);
      const mean = rewards.reduce((sum, reward) => sum + reward / rewards.length, 0);
      if (rewards.length > 0) baseline = decay * baseline + (1 - decay) * mean;
      return { baseline };
    },
    state: () => baseline,
    load(state) {
      baseline = state as number;
    },
  };
}
