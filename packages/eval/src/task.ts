import type { Prompt, SamplingParams, Verifier } from '@posttrain/interfaces';
import type { ChoiceProblem, GenerateProblem } from './log/format.js';
import type { MeanEstimate } from './statistics/standard-error.js';

export type { Grade } from './grade.js';

/** Judges completions: any `Verifier`, so that a reward, a reward model and a judge grade too. */
export type Grader = Verifier;

/** A number per problem; the result is the mean over problems (but for one with `estimate`), so its standard error is clustered by problem. */
export interface Metric<Problem> {
  /** As the field writes it: `pass@8`, `acc_norm`. */
  readonly name: string;
  /** Samples of a problem that it needs; `evaluate` refuses a task that draws fewer. Default: any number. */
  readonly k?: number;
  /** The problem's value; `null` when it cannot be computed for this problem, which is then left out and counted. */
  value(problem: Problem): number | null;
  /**
   * The value over all problems, for what is no mean of theirs, such as a ratio of sums; `clusters` names, for each, what it is not
   * independent of. Default: the mean of the problems that have a value.
   */
  estimate?(problems: readonly Problem[], clusters: readonly string[]): MeanEstimate;
}

/** One sample of a problem under one grader. */
export interface GradedSample {
  readonly score: number | null;
  readonly answer?: string | null;
  /** Scores of its steps, in order, of graders that see some. */
  readonly stepScores?: readonly number[];
  /** Scores by the name of the task's `verifiers`. */
  readonly verifierScores: Readonly<Record<string, number | null>>;
}

/** What the sampling metrics (`mean`, pass@k, maj@k, best@k) see of a problem: its samples, in drawing order. */
export interface GradedProblem {
  readonly id: string;
  readonly samples: readonly GradedSample[];
}

/** A sample of which it is known what it cost. */
export interface SampledSample extends GradedSample {
  readonly completionTokens: number;
}

/** What a curve over samples sees of a problem. */
export interface SampledProblem extends GradedProblem {
  /** As in a task: problems of one cluster are not independent. */
  readonly cluster?: string;
  readonly samples: readonly SampledSample[];
}

/** A metric of the samples of a problem. */
export type SampleMetric = Metric<GradedProblem>;
/** A metric of multiple-choice problems. */
export type ChoiceMetric = Metric<ChoiceProblem>;

/** A dataset row: a plain object that JSON can hold. */
export type Row = object;

/** What all tasks have. */
export interface TaskBase<R extends Row = Row> {
  /** Name of its kind. */
  readonly type: string;
  /** The kind itself, for kinds that `evaluate` does not know by name. */
  readonly kind?: unknown;
  readonly name: string;
  readonly dataset: Iterable<R> | AsyncIterable<R>;
  prompt(row: R): Prompt;
  /** A stable, unique name of the problem; runs are paired and resumed by it. Default: its position, from "0". */
  id?(row: R, index: number): string;
  /** Rows that share a source (one passage, one template) are not independent; name it here. Default: the row itself. */
  cluster?(row: R): string;
  /** Each is computed over all problems. */
  readonly metrics: readonly Metric<never>[];
}

/** A method, as the others of a task are, so that a task of some rows is a task. */
interface OfRow<R extends Row> {
  text(row: R): string;
}

/** The model writes; graders read. */
export interface GenerateTask<R extends Row = Row> extends TaskBase<R> {
  readonly type: 'generate';
  /** How to draw; the seed is `evaluate`'s. */
  readonly sampling?: Omit<SamplingParams, 'seed'>;
  /** Completions drawn per problem. Default 1. */
  readonly samples?: number;
  /** Text every completion has to continue: one for all, or of a row. Graders see what comes after it. */
  readonly prefix?: string | OfRow<R>['text'];
  /** Every metric is computed under every grader (several graders make a ladder from strict to lenient). */
  readonly graders: readonly Grader[];
  /** Scores that rank samples (`bestAtK`) and are logged, but are not the measure of success. */
  readonly verifiers?: readonly Grader[];
  readonly metrics: readonly SampleMetric[];
}

/** The model weighs given answers by log-likelihood. */
export interface MultipleChoiceTask<R extends Row = Row> extends TaskBase<R> {
  readonly type: 'multiple_choice';
  choices(row: R): readonly string[];
  /** Index of the right choice. */
  gold(row: R): number;
  /** Put before each choice; not counted in its length. Default " " (as lm-evaluation-harness). */
  readonly delimiter?: string;
  readonly metrics: readonly ChoiceMetric[];
}

/** What `evaluate` asks and grades. */
export type Task<R extends Row = Row> = GenerateTask<R> | MultipleChoiceTask<R>;

/** The samples of a logged problem as one grader saw them. */
export function gradedProblem(problem: GenerateProblem, grader: string): SampledProblem {
  return {
    id: problem.id,
    ...(problem.cluster !== undefined && { cluster: problem.cluster }),
    samples: problem.completions.map((completion) => ({
      ...(completion.grades[grader] ?? { score: null }),
      completionTokens: completion.usage.completionTokens,
      verifierScores: Object.fromEntries(
        Object.entries(completion.verifierScores ?? {}).map(([name, grade]) => [name, grade.score]),
      ),
    })),
  };
}
