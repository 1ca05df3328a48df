/** The longest delay that `setTimeout` keeps: 24 days. It fires at once on longer ones. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;
