/** What is known of one completion. A `Verdict` of any `Verifier` is one. */
export interface Grade {
  /** Higher is better, 1 is right, 0 is wrong; `null` means "not scorable", which is not the same as 0. */
  readonly score: number | null;
  /** The answer found in the completion, for votes; `null` when none was found; absent when the grader does not look. */
  readonly answer?: string | null;
  readonly explanation?: string;
}
