import type { Key } from '@posttrain/core-tensor';
import { type Given, number, OptionError, options } from '@posttrain/interfaces';
import { contentHash } from '@posttrain/training';
import type { PromptRow } from '../rewards/reward.js';
import { groupsOf } from '../rollout.js';
import type { RowSource } from './row-source.js';

const curriculumOptions = options('difficultyCurriculum', {
  /** Prompts that are solved less often are too hard for now. Default 0.2. */
  lower: number({ default: 0.2, min: 0, max: 1 }),
  /** Prompts that are solved more often are too easy. Default 0.8. */
  upper: number({ default: 0.8, min: 0, max: 1 }),
  /** How likely a prompt that is too hard or too easy is drawn, beside 1 of the others. Default 0.1. */
  outsideWeight: number({ default: 0.1, min: 0, max: 1 }),
  /** A rollout is solved where its reward is above this. Default 0.5. */
  solvedAbove: number({ default: 0.5 }),
  /** What the solve rate that is known counts beside that of new rollouts. Default 0.5; 0: the last ones only. */
  decay: number({ default: 0.5, min: 0, below: 1 }),
});
/** Options of `difficultyCurriculum`. */
export type DifficultyCurriculumOptions = Given<typeof curriculumOptions>;

/** Of every row, null where it has not been sampled from yet. */
type SolveRates = (number | null)[];

/**
 * A curriculum by difficulty: prompts whose solve rate is between two bounds are drawn more, since a group that is all
 * right or all wrong teaches nothing (online difficulty filtering, arXiv 2504.03380; success rates that are kept for
 * each prompt as in Kimi k1.5, arXiv 2501.12599). The probability of a row is in proportion to 1 where lower ≤ s ≤ upper
 * or s is not known, else to `outsideWeight`; no row comes twice before all have. After a step s becomes decay · s +
 * (1 - decay) · the solved part of the row's new rollouts; those without a reward do not count. The rates are its state.
 *
 * @throws OptionError
 */
export function difficultyCurriculum<Row extends PromptRow>(
  rows: readonly Row[],
  given: DifficultyCurriculumOptions = {},
): RowSource<Row> {
  const { lower, upper, outsideWeight, solvedAbove, decay } = curriculumOptions.read(given);
  if (lower > upper || rows.length === 0) {
    const problem = rows.length === 0 ? 'there are no rows.' : `lower is ${lower}, which is above upper, ${upper}.`;
    throw new OptionError('INVALID_OPTION', 'difficultyCurriculum', 'lower', problem);
  }
  const places = new Map(rows.map((row, i) => [row, i]));
  let rates: SolveRates = rows.map(() => null);
  const weightOf = (rate: number | null) => (rate === null || (rate >= lower && rate <= upper) ? 1 : outsideWeight);
  /** All rows, in an order that draws them by weight without putting them back: by -log(u) / weight. */
  const order = (key: Key): number[] =>
    Array.from(key.uniformHost(rows.length), (u, i) => ({ i, at: -Math.log(1 - u) / weightOf(rates[i]!) }))
      .sort((a, b) => (a.at === b.at ? a.i - b.i : a.at < b.at ? -1 : 1))
      .map(({ i }) => i);
  return {
    name: 'difficulty-curriculum',
    settings: { ...curriculumOptions.settings(given), rows: contentHash([...rows]) },
    next({ count, key }) {
      const rounds = Array.from({ length: Math.ceil(count / rows.length) }, (_, round) => order(key.child(round)));
      return rounds
        .flat()
        .slice(0, count)
        .map((i) => ({ row: rows[i]! }));
    },
    feedback(rollouts) {
      for (const group of groupsOf(rollouts)) {
        const place = places.get(group[0]!.row!);
        const rewards = group.flatMap(({ reward }) => reward ?? []);
        if (place === undefined || rewards.length === 0) continue;
        const solved = rewards.filter((reward) => reward > solvedAbove).length / rewards.length;
        const known = rates[place] ?? solved;
        rates[place] = decay * known + (1 - decay) * solved;
      }
    },
    state: (): SolveRates => [...rates],
    load(state) {
      rates = [...(state as SolveRates)];
    },
  };
}
