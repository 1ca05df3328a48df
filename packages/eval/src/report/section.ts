import type { Prompt } from '@posttrain/interfaces';
import type { Measured, NumberFormat } from '../format.js';
import type { TableColumn, TableRow } from '../table.js';
import type { Plot } from './plots.js';

/** Large numbers at a glance. */
export interface FiguresBlock {
  readonly type: 'figures';
  readonly figures: readonly {
    readonly label: string;
    readonly value: string | number | Measured;
    readonly format?: NumberFormat;
    /** A short line below. */
    readonly note?: string;
  }[];
}

/** Paragraphs of a report. */
export interface TextBlock {
  readonly type: 'text';
  /** Plain text; a blank line begins a paragraph. */
  readonly text: string;
  /** `warning` for what stands between the numbers and their meaning. Default `plain`. */
  readonly tone?: 'plain' | 'warning';
}

/** A table of a report. */
export interface TableBlock {
  readonly type: 'table';
  readonly rows: readonly TableRow[];
  readonly columns?: readonly (string | TableColumn)[];
  readonly caption?: string;
}

/** Prompts with what the model wrote. */
export interface ExamplesBlock {
  readonly type: 'examples';
  readonly examples: readonly {
    readonly title: string;
    readonly prompt: Prompt;
    /** The reference answer. */
    readonly target?: string;
    readonly completions: readonly {
      readonly text: string;
      /** 1 shows as right, 0 as wrong, others as the number, `null` as not scorable. */
      readonly score?: number | null;
      /** Who wrote it, where several models are shown. */
      readonly label?: string;
    }[];
  }[];
}

/** A block of a section of a report. */
export type ReportBlock = TextBlock | FiguresBlock | TableBlock | Plot | ExamplesBlock;

/** A section of a report. */
export interface ReportSection {
  readonly title: string;
  /** An introduction, as plain text. */
  readonly text?: string;
  /** Plots that follow each other share rows. */
  readonly blocks: readonly ReportBlock[];
}

/** What `writeReport` writes. */
export interface Report {
  readonly title: string;
  readonly subtitle?: string;
  readonly sections: readonly ReportSection[];
}
