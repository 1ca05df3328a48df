/** Where long work is; `total` is absent when it cannot be known. */
export interface ProgressEvent {
  readonly stage: string;
  readonly done: number;
  readonly total?: number;
  /** Seconds of this stage so far in which functions were compiled; `etaSeconds` does not count on more of them. */
  readonly compileSeconds?: number;
  /** Estimated seconds to the end of this stage. */
  readonly etaSeconds?: number;
  /** Latest metrics, to be shown beside the bar. */
  readonly metrics?: Readonly<Record<string, number>>;
}

/** Hears where long work is. */
export type OnProgress = (event: ProgressEvent) => void;
