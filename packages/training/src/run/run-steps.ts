import { realpath } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { compileSeconds } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { addSettings, type DecisiveSettings, PosttrainError } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import { averagesOf, beginAverage, updateAverage } from '../averaging/weight-average.js';
import type { Metrics, StepMetrics } from '../tracking/metrics.js';
import { Trackers } from '../tracking/tracker.js';
import { NonFiniteError, refuseNonFinite } from '../trainer/non-finite-error.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { TrainableModel } from '../trainer/trainable-model.js';
import type { Trainer } from '../trainer/trainer.js';
import { type BestEvaluation, BestOfRun } from './best.js';
import { latestCheckpoint, refuseUsedFolder } from './checkpoint.js';
import { Evaluation, type EvaluationOnRows } from './evaluation.js';
import { contextOf } from './hooks.js';
import { modelIdentity } from './identity.js';
import { LogWindow } from './log-window.js';
import { outOfMemory } from './out-of-memory.js';
import { progressOf } from './progress-lines.js';
import { lockFolder, type RunLock } from './run-lock.js';
import { type RunOptions, warn } from './run-options.js';
import { BEGINNING, checkpointOf, restoreRun, saveRun } from './run-state.js';
import { saveTrained } from './save-trained.js';
import { StepLog } from './step-log.js';
import { cloneState } from './stored-state.js';
import { checkNames, parametersOf, updatesOf } from './trainers.js';

/** A run: its steps, its state and what its checkpoints hold. */
export interface StepsToRun<State extends object, M extends TrainableModel = CausalLM> {
  /** For progress. */
  readonly stage: string;
  readonly trainer: Trainer<M>;
  /**
   * What is trained beside it in the same steps, by name: a critic, an auxiliary model, each with an optimizer of its
   * own. Checkpoints hold them as NAME.… beside the run's own tensors, and their models in folders NAME. Default:
   * none.
   */
  readonly others?: Readonly<Record<string, Trainer<TrainableModel>>>;
  /** The base model, which a resumed run must share, as it must those of `others`. */
  readonly model: M;
  /** What is trained, to be written into checkpoints; left out, the whole model is. */
  readonly adapter: TrainableAdapter | undefined;
  readonly steps: number;
  /** What decides the result beside the base model. A checkpoint of a run with others is refused. Called where it is needed. */
  readonly settings: () => DecisiveSettings | Promise<DecisiveSettings>;
  /** What a step changes beside the trainer: JSON, typed arrays, tensors. The object is updated in place. */
  readonly state: State;
  /** Called before the first step, with the number of it. */
  readonly begin?: (firstStep: number) => Promise<void>;
  /**
   * One step. Where the signal fires before its first update, it may throw the signal's reason: the step is then not done, and
   * `state` is put back. After that it must come to its end.
   */
  readonly step: (step: number, signal: AbortSignal | undefined) => Promise<Metrics>;
  /** Called before a checkpoint is written: what is going on meanwhile comes to rest and is put into `state`. Default: nothing is. */
  readonly beforeSave?: () => Promise<void>;
  /** Evaluation on held-out rows, where there are some. */
  readonly evaluation?: EvaluationOnRows<M> | undefined;
  /** The metric that says which evaluation is best, unless `bestMetric` does. Default `eval_loss`. */
  readonly bestMetric?: string;
  /** Further fields of trainer_state.json, under Hugging Face's names. */
  readonly describe?: () => Readonly<Record<string, unknown>>;
}

/** Why a run ended before its last step. */
export interface Stopped {
  /** The option `signal`, `stop()` of a hook, or `patience`. A run that a signal or a hook has stopped can be resumed. */
  readonly reason: 'signal' | 'hook' | 'early stopping';
  /** Steps that had been done. */
  readonly step: number;
}

/** What every run gives. */
export interface RunResult {
  /** All entries of the log, those before a resumption included. */
  readonly history: readonly StepMetrics[];
  /** Seconds of this attempt in which functions were compiled, most of them in the first step: no step's own time. */
  readonly compileSeconds: number;
  /** Undefined when the run came to its end. */
  readonly stopped: Stopped | undefined;
  /** The best evaluation, with `keepBest` or `patience`. With `keepBest` the result has its weights. */
  readonly best: BestEvaluation | undefined;
  /** With `weightAverage`: the average of what was trained, under the names of `trainer.parameters`. */
  readonly averaged?: Named;
}

/**
 * Runs the steps that are left, with everything that is the same in every training loop: log and trackers, progress, hooks,
 * evaluation, the best checkpoint, early stopping, a signal, checkpoints and a lock on the output folder. Every training
 * loop is a `step` for it.
 *
 * @throws RunLockedError, CheckpointError, FileError, NonFiniteError, EvaluationError, OptionError, PosttrainError
 *   OUTPUT_FOLDER, OUT_OF_MEMORY; what a hook or `evaluate` throws
 */
export async function runSteps<State extends object, M extends TrainableModel = CausalLM>(
  run: StepsToRun<State, M>,
  options: RunOptions<M>,
): Promise<RunResult> {
  const { outputFolder, resume = false } = options;
  if (outputFolder === undefined && (options.saveSteps !== undefined || resume === true)) {
    throw new PosttrainError('OUTPUT_FOLDER', `${run.stage}: saveSteps and resume need an outputFolder`);
  }
  checkNames(run.stage, run);
  const evaluation = new Evaluation(run.stage, run.steps, run.evaluation, options);
  const lock = outputFolder === undefined ? undefined : await lockFolder(outputFolder, (x) => warn(options, x));
  try {
    return await new Run(run, options, evaluation, lock).result();
  } finally {
    lock?.release();
  }
}

/** One attempt at a run, from its start or resumption to its end or stop. */
class Run<M extends TrainableModel> {
  readonly #run: StepsToRun<object, M>;
  readonly #options: RunOptions<M>;
  readonly #evaluation: Evaluation<M>;
  readonly #lock: RunLock | undefined;
  readonly #window: LogWindow;
  readonly #best: BestOfRun;
  readonly #trackers: Trackers;
  #settings: DecisiveSettings = {};
  #history: StepMetrics[] = [];
  #log: StepLog<StepMetrics> | undefined;
  /** Steps that have been done. */
  #done = 0;
  /** Those after which the last evaluation and the last checkpoint were. */
  #evaluated: number | undefined;
  #saved: number | undefined;
  #stopped: Stopped | undefined;
  /** Entries that `onLog` gets when all of their step is on disk. */
  #unsaid: StepMetrics[] = [];

  constructor(
    run: StepsToRun<object, M>,
    options: RunOptions<M>,
    evaluation: Evaluation<M>,
    lock: RunLock | undefined,
  ) {
    [this.#run, this.#options, this.#evaluation, this.#lock] = [run, options, evaluation, lock];
    this.#window = new LogWindow(options.loggingSteps ?? 1);
    this.#best = new BestOfRun(run.stage, run.bestMetric ?? 'eval_loss', options);
    this.#trackers = new Trackers(options.trackers ?? [], (message) => warn(options, message));
  }

  async result(): Promise<RunResult> {
    const { steps, stage } = this.#run;
    const compiledBefore = compileSeconds();
    const compiled = () => compileSeconds() - compiledBefore;
    await this.#begin();
    const first = this.#done;
    const report = progressOf(this.#options);
    try {
      await this.#trackers.open({ stage, step: first });
      // Before the first step, or where a signal has cut an evaluation off.
      if (await this.#evaluate()) await this.#save(this.#done > 0);
      this.#say();
      const [startedAt, compiledAtStart] = [performance.now(), compiled()];
      while (this.#done < steps && this.#goesOn()) {
        const metrics = await this.#step();
        if (metrics === undefined) break;
        const { saveSteps = steps } = this.#options;
        const evaluated = await this.#evaluate();
        const isDue = this.#done % saveSteps === 0 || this.#done === steps || !this.#goesOn();
        await this.#save(isDue);
        this.#say();
        // What is compiled in the first steps is not compiled again.
        const elapsed = (performance.now() - startedAt) / 1000 - (compiled() - compiledAtStart);
        const etaSeconds = (Math.max(0, elapsed) / (this.#done - first)) * (steps - this.#done);
        const time = { compileSeconds: compiled(), etaSeconds };
        report?.({ stage, done: this.#done, total: steps, ...time, metrics: { ...metrics, ...evaluated } });
      }
      // Stopped before a step; there is nothing to go on from where none was done.
      if (this.#stopped && this.#done > first) await this.#save(true);
    } finally {
      await this.#trackers.close();
    }
    // The last update is followed by no step that would notice.
    if (first < this.#done) await refuseNonFinite(parametersOf(this.#run), NonFiniteError.ofEnd);
    const averaged = await this.#averaged();
    await this.#best.load(this.#run);
    return {
      ...{ history: this.#history, compileSeconds: compiled() },
      ...{ stopped: this.#stopped, best: this.#best.evaluation },
      ...(averaged && { averaged }),
    };
  }

  /** The average of the weights; it is in a folder of its own, where there is an output folder. */
  async #averaged(): Promise<Named | undefined> {
    const { weightAverage, outputFolder } = this.#options;
    const { trainer, adapter } = this.#run;
    const averaged = weightAverage && averagesOf(trainer, weightAverage)?.average;
    if (averaged && outputFolder !== undefined) {
      await saveTrained(join(outputFolder, weightAverage.name), trainer, adapter, averaged);
    }
    return averaged;
  }

  /** Finds out where to begin, and opens what is written. */
  async #begin(): Promise<void> {
    const { model, settings, begin } = this.#run;
    const { outputFolder, resume = false } = this.#options;
    const from = resume === true ? await latestCheckpoint(outputFolder!) : resume || undefined;
    const isOwn = from !== undefined && outputFolder !== undefined && (await isIn(from, outputFolder));
    if (outputFolder !== undefined && !isOwn) await refuseUsedFolder(outputFolder);
    if (outputFolder !== undefined || from !== undefined) {
      const own: Record<string, DecisiveSettings[string]> = { ...(await identityOf(this.#run)), ...(await settings()) };
      const { weightAverage } = this.#options;
      if (weightAverage) {
        const { name, settings: of } = weightAverage;
        addSettings(own, 'weightAverage', { name, ...of });
      }
      this.#settings = { ...own, ...this.#evaluation.settings };
    }
    let start = BEGINNING;
    if (from !== undefined) {
      const place = { folder: from, home: isOwn ? outputFolder : dirname(resolve(from)) };
      const parts = { settings: this.#settings, window: this.#window, best: this.#best };
      start = await restoreRun(place, this.#run, parts, this.#options);
    }
    [this.#done, this.#evaluated, this.#saved] = [start.first, start.evaluated, isOwn ? start.first : undefined];
    await refuseNonFinite(model.weights);
    await refuseNonFinite(parametersOf(this.#run));
    await begin?.(this.#done);
    if (this.#options.weightAverage) await beginAverage(this.#run.trainer, this.#options.weightAverage);
    const path = outputFolder && join(outputFolder, 'metrics.jsonl');
    const opened = path ? await StepLog.open<StepMetrics>(path, this.#done, start.history) : undefined;
    this.#log = opened?.log;
    this.#history = opened?.before ?? [...(start.history ?? [])];
  }

  /** Whether nothing has stopped the run yet. A signal that fires is noticed here. */
  #goesOn(): boolean {
    if (this.#best.isExhausted) this.#stop('early stopping');
    if (this.#options.signal?.aborted) this.#stop('signal');
    return this.#stopped === undefined;
  }

  #stop(reason: Stopped['reason']): void {
    if (reason === 'hook' && this.#done === this.#run.steps) return;
    this.#stopped ??= { reason, step: this.#done };
  }

  /** One step with its hooks; undefined when it was not done. */
  async #step(): Promise<Metrics | undefined> {
    const { trainer, steps } = this.#run;
    const { signal, beforeStep, afterStep } = this.#options;
    const step = this.#done;
    const shared = { steps, signal, step, stop: () => this.#stop('hook') };
    await beforeStep?.(contextOf(trainer, shared));
    if (!this.#goesOn()) return undefined;
    const metrics = await this.#stepOrAbort(step);
    if (metrics === undefined) return undefined;
    if (this.#options.weightAverage) await updateAverage(trainer, this.#options.weightAverage);
    this.#done = step + 1;
    const entry = this.#window.add(step, metrics, this.#done === steps);
    if (entry) await this.#record(entry);
    await afterStep?.(contextOf(trainer, { ...shared, metrics }));
    return metrics;
  }

  /** The metrics of a step; undefined when the signal ended it before its first update. */
  async #stepOrAbort(index: number): Promise<Metrics | undefined> {
    const { step, stage, state } = this.#run;
    const { signal } = this.#options;
    const [before, updates] = [signal && cloneState(state), updatesOf(this.#run)];
    try {
      return await step(index, signal);
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason || updatesOf(this.#run) !== updates) {
        throw outOfMemory(`${stage}, step ${index}`, error) ?? error;
      }
      Object.assign(state, before);
      this.#stop('signal');
      return undefined;
    }
  }

  /** The evaluation that is due now; undefined where there is none, or it was made already, or the signal has cut it off. */
  async #evaluate(): Promise<Metrics | undefined> {
    const { trainer, steps, stage } = this.#run;
    const { signal } = this.#options;
    const done = this.#done;
    if (!this.#evaluation.isDue(done) || this.#evaluated === done) return undefined;
    let metrics: Metrics;
    try {
      signal?.throwIfAborted();
      metrics = await this.#evaluation.measure(trainer, contextOf(trainer, { steps, signal, done }));
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) {
        throw outOfMemory(`${stage}, evaluation after ${done} steps`, error) ?? error;
      }
      // A resumed run catches up on it.
      this.#stop('signal');
      return undefined;
    }
    [this.#evaluated, this.#saved] = [done, undefined];
    await this.#record({ step: done - 1, metrics });
    if (!this.#best.consider(done, metrics)) return metrics;
    const { outputFolder } = this.#options;
    await this.#best.keep(this.#run, outputFolder && checkpointOf(outputFolder, this.#run));
    await this.#save(true);
    return metrics;
  }

  async #record(entry: StepMetrics): Promise<void> {
    this.#history.push(entry);
    await this.#log?.append([entry]);
    await this.#trackers.log(entry.step + 1, entry.metrics);
    this.#unsaid.push(entry);
  }

  #say(): void {
    const { onLog } = this.#options;
    for (const entry of this.#unsaid.splice(0)) onLog?.(entry);
  }

  async #save(isDue: boolean): Promise<void> {
    const { outputFolder, saveTotalLimit: keep } = this.#options;
    if (!isDue || outputFolder === undefined || this.#saved === this.#done) return;
    await this.#run.beforeSave?.();
    await this.#lock?.check();
    await saveRun(outputFolder, this.#run, {
      ...{ done: this.#done, settings: this.#settings, window: this.#window, history: this.#history },
      ...{ best: this.#best, evaluated: this.#evaluated, keep },
    });
    this.#saved = this.#done;
  }
}

/** The base models of a run; those of further trainers are what these have before the first step. */
async function identityOf<M extends TrainableModel>(run: StepsToRun<object, M>): Promise<DecisiveSettings> {
  const settings: Record<string, DecisiveSettings[string]> = { ...(await modelIdentity(run.model)) };
  for (const [name, { model }] of Object.entries(run.others ?? {})) {
    addSettings(settings, name, await modelIdentity(model));
  }
  return settings;
}

/** Whether a checkpoint is of a folder, by whatever links either is named. */
async function isIn(checkpoint: string, folder: string): Promise<boolean> {
  const real = (path: string) => realpath(path).catch(() => resolve(path));
  return dirname(await real(checkpoint)) === (await real(folder));
}
