import { type Given, integer, options } from '@posttrain/interfaces';
import type { DataStep } from '../step.js';
import { eachRow, rolloutRow, rolloutShape, type SolutionRow, stepsOf, stepValues } from './rollouts.js';

const processAdvantagesOptions = options('processAdvantages', {
  ...rolloutShape,
  /** Rows at a time. Default 8. */
  concurrency: integer({ default: 8, min: 1, decisive: false }),
});
/** Options of `processAdvantages`. */
export type ProcessAdvantagesOptions = Given<typeof processAdvantagesOptions>;

/** What a row gets. */
export interface ProcessAdvantages {
  /** V^μ of the state before the first step. */
  readonly start_value: number;
  /** Q^μ: the prover's chance to be right from behind each step. */
  readonly labels: readonly number[];
  /** A^μ: by how much each step has raised it. */
  readonly advantages: readonly number[];
}

/**
 * Progress of steps (process advantage verifiers, arXiv 2410.08146, eq. 3): rows `{ prompt, completions }` get, by rollouts of a prover μ which is
 * `generator`, `labels` Q^μ(s_h, a_h) and `advantages` A^μ(s_h, a_h) = Q^μ(s_h, a_h) - Q^μ(s_{h-1}, a_{h-1}); before the first step it
 * is `start_value`. μ is to be another policy than the one that wrote the steps: under that one itself, steps that lead nowhere look
 * like progress. A verifier learns the labels (`processReward({ softLabels: true })`); `processAdvantage` of `@posttrain/rl` takes
 * their differences as rewards.
 *
 * @throws RowError for a row without prompt or steps
 */
export function processAdvantages(
  given: ProcessAdvantagesOptions,
): DataStep<SolutionRow, SolutionRow & ProcessAdvantages> {
  const { concurrency, ...settings } = processAdvantagesOptions.read(given);
  return {
    name: 'process advantages',
    version: JSON.stringify(processAdvantagesOptions.settings(given)),
    apply: (rows, context) =>
      eachRow(rows, context, concurrency, async (row, rowNumber) => {
        const of = rolloutRow(row, rowNumber, context);
        const [start, ...labels] = await stepValues(of, stepsOf(row, rowNumber), settings, context, true);
        const advantages = labels.map((value, i) => value - (i === 0 ? start! : labels[i - 1]!));
        return [context.derive({ ...row, start_value: start!, labels, advantages }, row)];
      }),
  };
}
