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
  /** Where `checkpoint-N/`, N counting updates, and `metrics.jsonl` go. Default: nothing is written. */
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
  /** Something is odd but not wrong. Default: a Node process warning. */
  readonly onWarning?: (message: string) => void;
}

export const RUN_OPTIONS = [
  'outputFolder',
  'saveSteps',
  'saveTotalLimit',
  'resume',
  'onLog',
  'onProgress',
  'onWarning',
] as const satisfies readonly (keyof RunOptions)[];

/** Tells the caller, or Node, about something odd. */
export function warn({ onWarning }: Pick<RunOptions, 'onWarning'>, message: string): void {
  if (onWarning) onWarning(message);
  else process.emitWarning(message, 'PosttrainWarning');
}
