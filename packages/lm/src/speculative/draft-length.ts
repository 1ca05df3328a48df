export const DRAFT_SCHEDULES = ['constant', 'heuristic'] as const;

/**
 * How many tokens a draft proposes next: always the same (`constant`), or two more after a proposal that was kept whole and
 * one less, but at least one, after another (`heuristic`, transformers' `num_assistant_tokens_schedule`, of each row
 * by itself).
 */
export type DraftSchedule = (typeof DRAFT_SCHEDULES)[number];

/** The length of a row's next proposal. */
export function nextDraftLength(schedule: DraftSchedule, length: number, proposed: number, accepted: number): number {
  if (schedule === 'constant') return length;
  return accepted === proposed ? length + 2 : Math.max(1, length - 1);
}
