import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { ProgressEvent } from '@posttrain/interfaces';
import type { Adapter } from '@posttrain/lm';
import { type Metrics, StepLog, type Tracker } from '@posttrain/training';
import { version } from '../version.js';
import {
  type LoggedTime,
  type RunExit,
  type RunRecord,
  type RunSample,
  readRecord,
  TIMES,
  writeRecord,
} from './run-record.js';
import { sampled } from './samples.js';
import { writeRunPage } from './write-run-page.js';

/** A run that is to be written down. */
export interface RecordedRun {
  readonly folder: string;
  readonly command: string;
  readonly asked: Readonly<Record<string, unknown>>;
  readonly model: unknown;
  readonly adapter: Adapter | undefined;
  /** Asked before and after. */
  readonly problems: readonly RunSample[];
  readonly isHeldOut: boolean;
  readonly warn: (message: string) => void;
}

/**
 * Writes run.json and times.jsonl beside metrics.jsonl, and run.html at the end. It is a tracker: where a run is refused before
 * its first step, it is never opened, and nothing is written.
 */
export class RunRecorder implements Tracker {
  readonly name = 'the record of the run';
  readonly #run: RecordedRun;
  #record: RunRecord | undefined;
  #times: StepLog<LoggedTime> | undefined;
  #began = 0;
  #steps: number | undefined;

  constructor(run: RecordedRun) {
    this.#run = run;
  }

  /** Steps of the whole run, which only its progress knows. */
  saw({ total }: ProgressEvent): void {
    this.#steps = total;
  }

  async open({ step }: { readonly step: number }): Promise<void> {
    const { folder, command, asked } = this.#run;
    const before = step > 0 ? await readRecord(folder) : undefined;
    const { outputFolder: _, ...options } = asked;
    this.#record = {
      ...{ format: 'posttrain-run', version: 1, command, options },
      seed: typeof asked.seed === 'number' ? asked.seed : 42,
      versions: { posttrain: version, node: process.versions.node },
      hardware: hardware(),
      attempts: [...(before?.attempts ?? []), { from: step, started: new Date().toISOString() }],
      samples: before?.samples ?? (await this.#before()),
      isHeldOut: before?.isHeldOut ?? this.#run.isHeldOut,
    };
    this.#times = (await StepLog.open<LoggedTime>(join(folder, TIMES), step)).log;
    await writeRecord(folder, this.#record);
    this.#began = performance.now();
  }

  /** What the model says before it is trained. */
  async #before(): Promise<RunSample[]> {
    const { model, adapter, problems } = this.#run;
    const said = await this.#sampled(model, adapter, problems);
    return said.map((before, i) => ({ ...problems[i]!, before }));
  }

  /** Samples are an extra: a model that cannot be asked is trained all the same. */
  async #sampled(model: unknown, adapter: Adapter | undefined, problems: readonly RunSample[]): Promise<string[]> {
    try {
      return await sampled(model, adapter, problems);
    } catch (error) {
      this.#run.warn(`no samples for the page: ${error instanceof Error ? error.message : String(error)}`);
      return [];
    }
  }

  async log(step: number, metrics: Metrics): Promise<void> {
    const { attempts } = this.#record!;
    const isEvaluation = Object.keys(metrics).every((name) => name.startsWith('eval_'));
    const time = { isEvaluation, seconds: this.#seconds(), attempt: attempts.length - 1 };
    await this.#times!.append([{ step: step - 1, ...time }]);
    if (this.#steps === undefined || this.#record!.steps === this.#steps) return;
    this.#record = { ...this.#record!, steps: this.#steps };
    await writeRecord(this.#run.folder, this.#record);
  }

  #seconds = (): number => Number(((performance.now() - this.#began) / 1000).toFixed(3));

  /**
   * Writes down how it ended, asks the trained model again where there is one, and writes the page. What fails here is warned of: the
   * training is done by then, or has failed for a reason of its own.
   */
  async finish(exit: RunExit, trained?: Pick<RecordedRun, 'model' | 'adapter'>): Promise<void> {
    if (!this.#record) return;
    const seconds = this.#seconds();
    const said = trained ? await this.#sampled(trained.model, trained.adapter, this.#record.samples) : [];
    const attempts = this.#record.attempts.map((one, i, all) => (i < all.length - 1 ? one : { ...one, seconds, exit }));
    const samples = this.#record.samples.map((one, i) => (said[i] === undefined ? one : { ...one, after: said[i] }));
    const steps = this.#steps ?? this.#record.steps;
    this.#record = { ...this.#record, attempts, samples, ...(steps !== undefined && { steps }) };
    try {
      await writeRecord(this.#run.folder, this.#record);
      await writeRunPage(this.#run.folder);
    } catch (error) {
      this.#run.warn(`the page could not be written: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function hardware(): RunRecord['hardware'] {
  const processors = cpus();
  return {
    system: `${process.platform} ${release()} ${process.arch}`,
    processor: `${processors[0]?.model.trim() || 'unknown'}, ${processors.length} threads`,
    memory: `${(totalmem() / 1e9).toFixed(1)} GB`,
  };
}
