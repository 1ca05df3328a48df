import type { OnProgress } from '@posttrain/interfaces';

/** One entry of the log of a run. */
export interface StepMetrics {
  /** Counted from 0. An entry that is a mean over several steps has the last of them. */
  readonly step: number;
  /** Under the names Hugging Face's trainers and TRL log. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** Options that every training loop has. */
export interface RunOptions {
  /** Where `checkpoint-N/` go; N counts updates. Default: nothing is written. */
  readonly outputFolder?: string;
  /** Steps between two checkpoints. Default: one at the end. */
  readonly saveSteps?: number;
  /** Keep this many checkpoints. Default: all. */
  readonly saveTotalLimit?: number;
  /**
   * True: go on from the newest checkpoint in `outputFolder`, if it has one. A text: from that checkpoint folder. The run
   * then ends with the very weights it would have had without the interruption. Default false.
   */
  readonly resume?: boolean | string;
  readonly onLog?: (entry: StepMetrics) => void;
  readonly onProgress?: OnProgress;
}

export const RUN_OPTIONS = [
  'outputFolder',
  'saveSteps',
  'saveTotalLimit',
  'resume',
  'onLog',
  'onProgress',
] as const satisfies readonly (keyof RunOptions)[];
