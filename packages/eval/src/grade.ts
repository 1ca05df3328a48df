import type { Verdict } from '@posttrain/interfaces';

/** What is known of one completion. */
export type Grade = Verdict;
