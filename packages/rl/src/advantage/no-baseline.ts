import { type Advantage, byGroup } from './advantage.js';

/** The advantage of plain REINFORCE (Williams, 1992): A_i = r_i. Unbiased, with the largest variance. */
export function noBaseline(): Advantage {
  return {
    name: 'no-baseline',
    settings: {},
    compute: (rollouts) => byGroup(rollouts, (groups) => groups.map((group) => [...group])),
  };
}
