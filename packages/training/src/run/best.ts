import { relative, resolve } from 'node:path';
import type { Named } from '@posttrain/core-tensor/optim';
import type { Metrics } from '../tracking/metrics.js';
import { CheckpointError, loadCheckpoint } from './checkpoint.js';
import { EvaluationError, evaluationName } from './evaluation.js';
import type { RunOptions } from './run-options.js';
import { copyParameters, loadParameters, type TrainersOfRun } from './trainers.js';

/** The best evaluation of a run. */
export interface BestEvaluation {
  /** Steps that had been done. */
  readonly done: number;
  /** The metric that says so, and its value. */
  readonly metric: string;
  readonly value: number;
  /** The folder of its checkpoint; undefined where its weights are not kept, or in memory. */
  readonly checkpoint: string | undefined;
}

/** The best evaluation as JSON in a checkpoint; the path of its own is relative to the folder that holds the checkpoint. */
export interface SavedBest {
  readonly wait: number;
  readonly best?: Omit<BestEvaluation, 'checkpoint'> & { readonly checkpoint?: string };
}

/**
 * Which evaluation was best, where its weights are, and for how many evaluations there was no better one. As transformers'
 * EarlyStoppingCallback, it counts evaluations that are not better than the best by more than `minDelta`.
 */
export class BestOfRun {
  readonly #stage: string;
  readonly #metric: string;
  readonly #isBetter: (a: number, b: number) => boolean;
  readonly #options: Pick<RunOptions, 'keepBest' | 'patience' | 'minDelta'>;
  #best: BestEvaluation | undefined;
  #wait = 0;
  /** Without an output folder. */
  #parameters: Named | undefined;

  constructor(
    stage: string,
    ownMetric: string,
    options: Pick<RunOptions, 'keepBest' | 'patience' | 'minDelta' | 'bestMetric' | 'bestMode'>,
  ) {
    this.#stage = stage;
    this.#options = options;
    this.#metric = evaluationName(options.bestMetric ?? ownMetric);
    const mode = options.bestMode ?? (this.#metric.endsWith('loss') ? 'min' : 'max');
    this.#isBetter = mode === 'min' ? (a, b) => a < b : (a, b) => a > b;
  }

  get evaluation(): BestEvaluation | undefined {
    return this.#best;
  }

  /** Early stopping: whether patience is used up. */
  get isExhausted(): boolean {
    const { patience } = this.#options;
    return patience !== undefined && this.#wait >= patience;
  }

  /**
   * Takes an evaluation into account.
   *
   * @returns whether its weights are to be kept
   * @throws EvaluationError when it lacks the metric, or has a value that cannot be compared
   */
  consider(done: number, metrics: Metrics): boolean {
    const { keepBest, patience, minDelta = 0 } = this.#options;
    if (!keepBest && patience === undefined) return false;
    const value = metrics[this.#metric];
    if (value === undefined || Number.isNaN(value)) {
      const what = value === undefined ? 'is not there' : 'is NaN';
      const there = Object.keys(metrics).join(', ');
      const problem = `bestMetric ${this.#metric} ${what} in the evaluation after ${done} steps, which has ${there}.`;
      throw new EvaluationError(this.#stage, problem);
    }
    const before = this.#best?.value;
    const isBest = before === undefined || this.#isBetter(value, before);
    const isEnough = before === undefined || (isBest && Math.abs(value - before) > minDelta);
    this.#wait = isEnough ? 0 : this.#wait + 1;
    if (isBest) this.#best = { done, metric: this.#metric, value, checkpoint: undefined };
    return isBest && keepBest === true;
  }

  /**
   * The weights of the best evaluation are those that the trainers have now, and will be in that checkpoint or in
   * memory.
   */
  async keep(run: TrainersOfRun, checkpoint: string | undefined): Promise<void> {
    this.#best = { ...this.#best!, checkpoint };
    if (checkpoint === undefined) this.#parameters = await copyParameters(run);
  }

  /**
   * Gives the trainers the weights of the best evaluation; the optimizers' states and the steps stay those of the
   * end.
   */
  async load(run: TrainersOfRun): Promise<void> {
    if (!this.#options.keepBest || !this.#best) return;
    const { checkpoint } = this.#best;
    loadParameters(run, checkpoint === undefined ? this.#parameters! : await tensorsIn(checkpoint));
  }

  saved(folder: string): SavedBest {
    if (!this.#best) return { wait: this.#wait };
    const { checkpoint, ...best } = this.#best;
    const path = checkpoint && relative(folder, checkpoint).replaceAll('\\', '/');
    return { wait: this.#wait, best: { ...best, ...(path && { checkpoint: path }) } };
  }

  /** @throws CheckpointError when the checkpoint of the best evaluation is gone or damaged */
  async restore({ wait, best }: SavedBest, folder: string): Promise<void> {
    this.#wait = wait;
    if (!best) return;
    this.#best = { ...best, checkpoint: best.checkpoint && resolve(folder, best.checkpoint) };
    if (this.#options.keepBest && this.#best.checkpoint === undefined) {
      throw new CheckpointError(
        folder,
        'has no weights of the best evaluation: that run did not keep them (keepBest).',
      );
    }
    // Whether they can be read is known now, not after days.
    if (this.#options.keepBest) await tensorsIn(this.#best.checkpoint!);
  }
}

const tensorsIn = async (checkpoint: string): Promise<Named> => (await loadCheckpoint(checkpoint)).snapshot.tensors;
