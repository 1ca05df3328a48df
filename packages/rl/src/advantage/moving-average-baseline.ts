import { type Given, number, options } from '@posttrain/interfaces';
import type { Annotator } from '../annotator.js';

const movingAverageOptions = options('movingAverageBaseline', {
  /** How much of the baseline is the mean reward of the last step. Default 0.1. */
  rate: number({ default: 0.1, above: 0, max: 1 }),
});
/** Options of `movingAverageBaseline`. */
export type MovingAverageBaselineOptions = Given<typeof movingAverageOptions>;

/**
 * Reinforcement comparison (Sutton, 1984; Williams, 1992): every rollout's `baseline` is a moving average of the mean rewards of the steps
 * before, b ← b + rate · (mean r - b), which no completion of this step is in. Before there is one, in the first step, it is the mean of that
 * step itself. The average is its state.
 *
 * @throws OptionError
 */
export function movingAverageBaseline(given: MovingAverageBaselineOptions = {}): Annotator {
  const { rate } = movingAverageOptions.read(given);
  let average: number | null = null;
  const meanOf = (rollouts: readonly { readonly reward: number | null }[]): number | null => {
    const there = rollouts.flatMap(({ reward }) => (reward === null ? [] : [reward]));
    return there.length === 0 ? null : there.reduce((a, b) => a + b) / there.length;
  };
  return {
    name: 'moving-average-baseline',
    settings: movingAverageOptions.settings(given),
    gives: ['baseline'],
    annotate: async (rollouts) => {
      const baseline = average ?? meanOf(rollouts) ?? 0;
      return rollouts.map((rollout) => ({ ...rollout, baseline }));
    },
    async learn(rollouts) {
      const mean = meanOf(rollouts);
      if (mean !== null) average = average === null ? mean : average + rate * (mean - average);
      return { baseline: average ?? 0 };
    },
    state: () => ({ average }),
    load: (state) => {
      average = (state as { average: number | null }).average;
    },
  };
}
