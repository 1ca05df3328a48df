import type { Completion, Prompt, SamplingParams, Usage } from '@posttrain/interfaces';
import type { Grade } from '../grade.js';
import type { MeanEstimate } from '../statistics/standard-error.js';

/**
 * The evaluation log, version 1: UTF-8, one JSON object a line (JSONL), only ever appended to.
 *
 * 1. the first line is a `LogHeader`;
 * 2. one `problem` line per finished problem, in the order they finished;
 * 3. one `result` line whenever a run finishes; the last one counts.
 *
 * A last line without its line feed was cut off and is dropped. Readers ignore keys they do not know; keys never change
 * meaning within a version.
 */
export const LOG_FORMAT = 'posttrain-eval-log';
/** The version of the log that is written, and the one that is read. */
export const LOG_VERSION = 1;

/** What was asked. Two runs with an equal config, but for `limit`, continue each other. */
export interface EvalConfig {
  readonly task: string;
  /** Name of the task's kind. */
  readonly type: string;
  /** The generator's or scorer's name. */
  readonly model: string;
  readonly seed: number;
  readonly sampling?: Omit<SamplingParams, 'seed'>;
  readonly samples?: number;
  readonly prefix?: string;
  readonly graders?: readonly string[];
  readonly verifiers?: readonly string[];
  readonly delimiter?: string;
  /** What else decides the requests of another kind of task. */
  readonly [setting: string]: unknown;
}

/** The first line of a log: what was asked. */
export interface LogHeader {
  readonly type: 'header';
  readonly format: typeof LOG_FORMAT;
  readonly version: typeof LOG_VERSION;
  readonly config: EvalConfig;
  /** ISO 8601. */
  readonly startedAt: string;
}

/** What the records of all kinds have. */
export interface ProblemBase {
  readonly type: 'problem';
  readonly id: string;
  /** SHA-256 of the request, to notice that a resumed run would ask something else. */
  readonly requestHash: string;
  readonly cluster?: string;
  readonly prompt: Prompt;
  readonly row: object;
  /** This problem's share of the wall-clock seconds of the batch it was asked in. */
  readonly seconds: number;
}

/** A completion as the generator gave it, less its token ids and log-probs, with what graders and verifiers said. */
export interface LoggedCompletion extends Omit<Completion, 'tokenIds' | 'logProbs'> {
  readonly grades: Readonly<Record<string, Grade>>;
  readonly verifierScores?: Readonly<Record<string, Grade>>;
}

/** A problem as it is logged, with the completions that were drawn and what was said of them. */
export interface GenerateProblem extends ProblemBase {
  /** The seed of this problem's request: from the run's seed and the problem's id. */
  readonly seed: number;
  readonly completions: readonly LoggedCompletion[];
}

/** One choice of a multiple-choice problem, as the scorer sees it. */
export interface LoggedChoice {
  readonly text: string;
  /** Sum of natural log-probabilities of delimiter + text given the prompt. */
  readonly logProb: number;
  readonly tokens: number;
  readonly isGreedy: boolean;
}

/** A multiple-choice problem as it is logged: the choices with their log-likelihoods. */
export interface ChoiceProblem extends ProblemBase {
  readonly gold: number;
  readonly choices: readonly LoggedChoice[];
}

/** A problem as it is logged: one of these, or what another kind of task makes of it. */
export type ProblemRecord = GenerateProblem | ChoiceProblem | ProblemBase;

/** A metric over all problems. `value` is the mean over problems, `count` how many of them have one. */
export interface MetricResult extends MeanEstimate {
  readonly metric: string;
  /** Under which grader; absent for multiple choice. */
  readonly grader?: string;
  /** The value of each problem, in the order of `problems`. */
  readonly values: readonly (number | null)[];
}

/** The line that ends a finished run: its metrics. */
export interface ResultLine {
  readonly type: 'result';
  readonly finishedAt: string;
  /** Ids of the problems this result is over, in dataset order. */
  readonly problems: readonly string[];
  readonly metrics: readonly MetricResult[];
  /** Summed over completions; a prompt sampled n times counts n times. Absent for multiple choice. */
  readonly usage?: Usage;
  /** Tokens that graders and verifiers took which generate, as judges do. Absent when none counts any. */
  readonly gradingUsage?: Usage;
  /** Wall-clock seconds of asking and grading, over all runs that continued each other. */
  readonly seconds: number;
  readonly warnings: readonly string[];
}

/** One line of a log. */
export type LogLine = LogHeader | ProblemRecord | ResultLine;

/** What `evaluate` returns and `readLog` reads. */
export interface EvalResult<P extends ProblemRecord = ProblemRecord> {
  readonly config: EvalConfig;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly problems: readonly P[];
  readonly metrics: readonly MetricResult[];
  readonly usage?: Usage;
  readonly gradingUsage?: Usage;
  readonly seconds: number;
  /** Things a reader of the numbers has to know, such as many answers that no filter could find. */
  readonly warnings: readonly string[];
}
