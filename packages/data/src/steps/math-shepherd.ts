import { type Given, integer, oneOf, options } from '@posttrain/interfaces';
import type { DataStep } from '../step.js';
import { eachRow, rolloutRow, rolloutShape, type SolutionRow, stepsOf, stepValues } from './rollouts.js';

const mathShepherdOptions = options('mathShepherd', {
  ...rolloutShape,
  /** `hard`: true where any completion is right; `soft`: the share that is. Default hard. */
  estimation: oneOf(['hard', 'soft'], { default: 'hard' }),
  /** Rows at a time. Default 8. */
  concurrency: integer({ default: 8, min: 1, decisive: false }),
});
/** Options of `mathShepherd`. */
export type MathShepherdOptions = Given<typeof mathShepherdOptions>;

/** What a row gets. */
export interface StepLabels {
  readonly labels: readonly (boolean | number)[];
}

/**
 * Labels of steps without people (Math-Shepherd, arXiv 2312.08935, §3.3): rows `{ prompt, completions }`, the steps, get `labels`. From each
 * step a generator completes the solution N times, and a verifier, which sees the row with its reference answer, says which are
 * right: hard estimation (eq. 3) labels the step 1[any is right], soft (eq. 4) with the share that is. The last step's label
 * is whether the solution is right. The rows are those of `processReward` (soft ones with its `softLabels`).
 *
 * @throws RowError for a row without prompt or steps
 */
export function mathShepherd(given: MathShepherdOptions): DataStep<SolutionRow, SolutionRow & StepLabels> {
  const { estimation, concurrency, ...settings } = mathShepherdOptions.read(given);
  return {
    name: 'math-shepherd',
    version: JSON.stringify(mathShepherdOptions.settings(given)),
    apply: (rows, context) =>
      eachRow(rows, context, concurrency, async (row, rowNumber) => {
        const of = rolloutRow(row, rowNumber, context);
        const values = await stepValues(of, stepsOf(row, rowNumber), settings, context);
        const labels = estimation === 'hard' ? values.map((value) => value > 0) : values;
        return [context.derive({ ...row, labels }, row)];
      }),
  };
}
