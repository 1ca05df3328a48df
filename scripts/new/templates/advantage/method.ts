import { type Given, number, options } from '@posttrain/interfaces';
import { type Advantage, groupsOf } from '@posttrain/rl';

const myMethodOptions = options('myMethod', {
  /** What the differences are multiplied by. Default 1. */
  scale: number({ default: 1, above: 0 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * How much better than the median of its group a completion was (arXiv 0000.00000, eq. 0): A_i = scale · (r_i - median r), over the
 * completions of one prompt. A completion that is not scorable has no part in the median, and 0.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): Advantage {
  const { scale } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    needsGroup: true,
    compute(rollouts) {
      const scorable = groupsOf(rollouts.filter(({ reward }) => reward !== null));
      const medians = new Map(scorable.map((of) => [of[0]!.group, median(of.map(({ reward }) => reward!))]));
      return rollouts.map(({ group, reward }) => (reward === null ? 0 : scale * (reward - medians.get(group)!)));
    },
  };
}

/** Of an even number of values the mean of the two in the middle. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}
