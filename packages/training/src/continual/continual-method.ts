import type { Optimizer } from '@posttrain/core-tensor/optim';
import type { DecisiveSettings } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import type { RowSource } from '../run/row-source.js';
import type { SftRow } from '../sft/tokenize-rows.js';
import type { Metrics } from '../tracking/metrics.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { Penalty } from '../trainer/penalty.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';
import type { UpdateRule } from '../update/update-rule.js';

/** What is trained, as it stands between two tasks. */
export interface ContinualState {
  readonly model: CausalLM;
  /** What is trained beside the model; undefined where the model itself is. */
  readonly adapter: TrainableAdapter | undefined;
}

/** One task of a stream. */
export interface ContinualTask<Row extends object = SftRow> {
  /** No other of the stream has it. */
  readonly name: string;
  readonly rows: readonly Row[];
  /** Of what it is measured, where it has no `evaluate`. Default: `rows`. */
  readonly evaluationRows?: readonly Row[];
  /** How it is trained. Default: the stage of the stream. */
  readonly stage?: ContinualStage<Row>;
  /** Scores by name, which are asked before the first task and after every one. Default: those of the stage on `evaluationRows`. */
  readonly evaluate?: (state: ContinualState) => Metrics | Promise<Metrics>;
}

/** What a method has a stage do: everything may be left out. */
export interface StagePlan {
  /** In the place of the rows of the task. */
  readonly rows?: RowSource<SftRow>;
  readonly penalties?: readonly Penalty[];
  readonly loss?: AnyLoss;
  readonly update?: UpdateRule;
  /** The optimizer about the one that the stage would have. */
  readonly optimizer?: (inner: Optimizer<object>) => Optimizer<object>;
}

/** What a stage is given. */
export interface StageGiven<Row extends object = SftRow> extends ContinualState {
  readonly task: ContinualTask<Row>;
  /** Its place in the stream, from 0. */
  readonly index: number;
  readonly plan: StagePlan;
  /** Where the run of this task is written to, to go on from what is there; undefined where the stream has no `outputFolder`. */
  readonly folder?: string | undefined;
}

/** What a stage gives. */
export interface StageResult {
  readonly trainer: Trainer;
  /** Undefined where the model itself was trained. */
  readonly adapter: TrainableAdapter | undefined;
}

/**
 * A kind of training in a stream: continual pretraining (CPT), instruction tuning (CIT) or alignment (CA) of the taxonomy of arXiv
 * 2402.01364. `sftStage` is the first two; a preference trainer, or anything that ends with a `Trainer`, is another.
 */
export interface ContinualStage<Row extends object = SftRow> {
  readonly name: string;
  /** What it was made with, which a resumed stream must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** The members of a plan that it heeds. A stream refuses a method that has one of the others. */
  readonly takes: readonly (keyof StagePlan)[];
  train(given: StageGiven<Row>): Promise<StageResult>;
  /** Rows of a task as they are trained, for methods that learn of them what mattered. Left out: such methods are refused. */
  trainingRows?(state: ContinualState, rows: readonly Row[]): readonly TrainingRow[];
  /** Scores of rows by name. Left out: every task of it needs an `evaluate`. */
  evaluate?(trainer: Trainer, state: ContinualState, rows: readonly Row[]): Promise<Metrics>;
}

/** What a method hears when a task has been learnt. */
export interface LearntTask extends ContinualState, StageResult {
  readonly adapter: TrainableAdapter | undefined;
  readonly task: ContinualTask;
  readonly index: number;
  /** The rows of the task as training rows. @throws OptionError where the stage has none */
  trainingRows(): readonly TrainingRow[];
}

/**
 * A way not to forget, of any family: it says what a stage does beside learning its task, and looks at what was learnt. It remembers
 * what it has seen, so that every stream has one of its own.
 */
export interface ContinualMethod {
  readonly name: string;
  /** Of the taxonomy of arXiv 2402.01364; `none` is the control. */
  readonly family: 'none' | 'replay' | 'regularisation' | 'architecture';
  /** What it was made with, which a resumed stream must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Before `begin`: what learns the task, in the place of what the one before has left. Nothing given: that. */
  start?(
    given: ContinualState & { readonly task: ContinualTask; readonly index: number },
  ): ContinualState | undefined | Promise<ContinualState | undefined>;
  /** Before a task. Default: nothing beside it. */
  begin?(
    given: ContinualState & { readonly task: ContinualTask; readonly index: number },
  ): StagePlan | Promise<StagePlan>;
  /**
   * After it, before tasks are measured. What it gives is measured and learns the next task, in the place of what was trained: an average, or
   * a merged model with a new adapter.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: most give nothing
  end?(learnt: LearntTask): ContinualState | void | Promise<ContinualState | void>;
  /**
   * What the task `index` is measured with, where rows say which task they are of and it has something of its own: an adapter a task.
   * Undefined or left out: what is there.
   */
  measuredWith?(index: number): ContinualState | undefined;
  /** All that it remembers between two tasks: JSON, typed arrays, tensors. A method with an `end` needs it for an `outputFolder`. */
  state?(): unknown;
  /** Restores what `state` gave. */
  load?(state: unknown): void | Promise<void>;
}
