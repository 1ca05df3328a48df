import { mean } from '../statistics/standard-error.js';
import type { SampleMetric } from '../task.js';

/** The mean score of a problem's samples (avg@n; with right-or-wrong scores the same number as pass@1). */
export function meanScore(): SampleMetric {
  return {
    name: 'mean',
    value: ({ samples }) => {
      const scores = samples.flatMap((sample) => (sample.score === null ? [] : [sample.score]));
      return scores.length > 0 ? mean(scores) : null;
    },
  };
}
