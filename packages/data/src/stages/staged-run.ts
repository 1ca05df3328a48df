import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OnProgress } from '@posttrain/interfaces';
import { DataOptionError, messageOf } from '../errors.js';
import type { AnyStep, DroppedRow, Keyed, RowKey, Shard, StepReport } from '../step.js';
import { changeOf, keyOfStage, type StageIdentity, withSteps } from './identity.js';
import { mergeByPosition } from './row-file.js';
import { RowKeys } from './row-keys.js';
import { fromSource, markAgain, type Source, type SourceMark, SourceReader } from './source-reader.js';
import { type RunContext, StepCounter, throwIfAborted } from './step-counter.js';
import { type StageManifest, WorkFolder } from './work-folder.js';

/** Options of a run, with their defaults. */
export interface RunSettings {
  readonly workFolder?: string;
  readonly resume: boolean;
  readonly sourceVersion?: string;
  readonly id?: (row: never, position: number) => string;
  readonly shards: Shard;
  readonly waitSeconds: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly onDrop?: (drop: DroppedRow) => void;
  readonly onWarning?: (warning: string) => void;
  readonly onProgress?: OnProgress;
}

interface Stage {
  readonly counters: readonly StepCounter[];
  /** Place of its first step among all. */
  readonly first: number;
}

/** One run of a pipeline: its steps in stages, each ending before a step with a plan. */
export class StagedRun {
  readonly warnings: string[] = [];
  readonly #settings: RunSettings;
  readonly #keys = new RowKeys();
  readonly #counters: readonly StepCounter[];
  readonly #stages: readonly Stage[];
  readonly #signal: AbortSignal;
  #source: Source<object>;
  #folder: WorkFolder | undefined;
  #temporary: string | undefined;
  /** Whether a finished stage was not the one asked for. */
  #anew = false;

  constructor(source: Source<object>, steps: readonly AnyStep[], settings: RunSettings) {
    this.#source = source;
    this.#settings = settings;
    this.#signal = settings.signal ?? new AbortController().signal;
    const run: RunContext = {
      keys: this.#keys,
      signal: this.#signal,
      seed: settings.seed,
      shard: settings.shards,
      onProgress: settings.onProgress ?? (() => {}),
      onDrop: settings.onDrop,
      scratch: async () => (await this.#workFolder()).scratch(),
    };
    this.#counters = steps.map((step) => new StepCounter(step, run));
    this.#stages = stagesOf(this.#counters);
    if (settings.shards.world > 1 && settings.workFolder === undefined && this.#stages.length > 1) {
      throw new DataOptionError(
        'pipeline',
        'shards of a pipeline with a plan meet in a folder: give all of them the same "workFolder".',
      );
    }
  }

  report(): StepReport[] {
    return this.#counters.map((counter) => counter.report());
  }

  async *rows(): AsyncGenerator<object> {
    try {
      throwIfAborted(this.#signal);
      if (this.#stages.length === 1) yield* chain(this.#admitted(this.#keyedSource()), this.#counters);
      else yield* this.#staged();
    } catch (error) {
      // What waits for other shards throws the signal's own reason.
      if (error === this.#signal.reason) throwIfAborted(this.#signal);
      throw error;
    } finally {
      await this.#folder?.close();
      if (this.#temporary !== undefined) await rm(this.#temporary, { recursive: true, force: true });
    }
  }

  async *#staged(): AsyncGenerator<object> {
    const folder = await this.#workFolder();
    await folder.prepare();
    if (this.#settings.workFolder !== undefined) this.#warnOfVersions();
    let identity: StageIdentity = this.#start();
    for (const [index, stage] of this.#stages.entries()) {
      const plan = index === 0 ? undefined : await this.#plan(folder, index, identity);
      if (index === this.#stages.length - 1) {
        yield* chain(this.#admitted(this.#readStage(folder, index - 1)), stage.counters, plan);
        return;
      }
      if (index === 0 && this.#isDirect) continue;
      identity =
        index === 0 ? await this.#firstStage(folder, identity) : await this.#stage(folder, index, plan, identity);
    }
  }

  /** Whether the rows before the first plan are those of an array, which is read again in the place of a stage, as nobody asked for a folder to resume from. */
  get #isDirect(): boolean {
    return (
      Array.isArray(this.#source) && this.#settings.workFolder === undefined && this.#stages[0]!.counters.length === 0
    );
  }

  #readStage(folder: WorkFolder, index: number, rank?: number): AsyncIterable<Keyed<object>> {
    return index === 0 && this.#isDirect ? this.#keyedSource() : folder.readStage(index, rank);
  }

  /** What decides everything but the source and the steps. */
  #start(): StageIdentity {
    const { seed, shards, sourceVersion, id } = this.#settings;
    return {
      seed,
      shards: shards.world,
      ids: id === undefined ? 'positions' : String(id),
      ...(sourceVersion !== undefined && { source: sourceVersion }),
    };
  }

  /** Makes the first stage, or finds it finished: of the same steps, and of the same source. */
  async #firstStage(folder: WorkFolder, start: StageIdentity): Promise<StageIdentity> {
    const stage = this.#stages[0]!;
    const stepsOnly = withSteps(start, stepsOf(stage), 0);
    const saved = await this.#saved(folder, 0);
    if (saved !== undefined) {
      const same = await this.#withSource(folder, stepsOnly, saved);
      if (this.#isSame(0, saved, same)) return same;
    }
    const hashes = this.#settings.workFolder !== undefined && this.#settings.sourceVersion === undefined;
    const reader = new SourceReader(fromSource(this.#source), hashes);
    let identity = stepsOnly;
    try {
      const shared = reader.shard(this.#settings.shards, (row, position) => this.#sourceKey(row, position));
      await folder.writeStage(
        0,
        nameOf(stage),
        this.#keyed(chain(this.#admitted(shared), stage.counters)),
        async (rows) => {
          const source = await reader.finish(this.#settings.shards.world > 1);
          identity = hashes ? { ...stepsOnly, source: showSource(source) } : stepsOnly;
          return { identity, rows, reports: reportsOf(stage), source };
        },
      );
    } finally {
      await reader.close();
    }
    return identity;
  }

  /** The identity that a finished first stage would have now, where its steps are still the same. */
  async #withSource(folder: WorkFolder, stepsOnly: StageIdentity, saved: StageManifest): Promise<StageIdentity> {
    if (this.#settings.sourceVersion !== undefined) return stepsOnly;
    const { source: was, ...savedSteps } = saved.identity;
    if (saved.source === undefined || was === undefined || keyOfStage(savedSteps) !== keyOfStage(stepsOnly)) {
      return { ...stepsOnly, ...(was !== undefined && { source: was }) };
    }
    const again = await markAgain(this.#source, saved.source, () => folder.scratch(), this.#signal);
    this.#source = again.source;
    return { ...stepsOnly, source: showSource(again.mark) };
  }

  async #stage(folder: WorkFolder, index: number, plan: unknown, before: StageIdentity): Promise<StageIdentity> {
    const stage = this.#stages[index]!;
    const identity = withSteps(before, stepsOf(stage), stage.first);
    const saved = await this.#saved(folder, index);
    if (saved !== undefined && this.#isSame(index, saved, identity)) return identity;
    const rows = this.#keyed(chain(this.#admitted(this.#readStage(folder, index - 1)), stage.counters, plan));
    await folder.writeStage(index, nameOf(stage), rows, async (count) => ({
      identity,
      rows: count,
      reports: reportsOf(stage),
    }));
    return identity;
  }

  async #saved(folder: WorkFolder, index: number): Promise<StageManifest | undefined> {
    return this.#settings.resume ? folder.manifest(index) : undefined;
  }

  /** Takes the counts of a finished stage that is the one asked for; else says why it is not. */
  #isSame(index: number, saved: StageManifest, identity: StageIdentity): boolean {
    if (keyOfStage(saved.identity) !== keyOfStage(identity)) {
      this.#anew = true;
      this.#warn(`stage ${index + 1} is made anew: ${changeOf(saved.identity, identity)}.`);
      return false;
    }
    for (const [i, counter] of this.#stages[index]!.counters.entries()) counter.restore(saved.reports[i]!);
    return true;
  }

  /** The plan of the step that begins a stage: made by rank 0 of the rows of all shards, read by the others. */
  async #plan(folder: WorkFolder, index: number, before: StageIdentity): Promise<unknown> {
    const [counter] = this.#stages[index]!.counters;
    const { step } = counter!;
    const identity = withSteps(before, [step], this.#stages[index]!.first);
    const { shards, onProgress, resume } = this.#settings;
    const waiting = (missing: readonly number[]) =>
      onProgress?.({
        stage: `${step.name}: waiting for shards ${missing.join(', ')}`,
        done: shards.world - missing.length,
        total: shards.world,
      });
    const limits = { seconds: this.#settings.waitSeconds, onSlow: (what: string) => this.#warn(what) };
    if (shards.rank > 0) {
      if (!(resume && (await folder.plan(index, identity)))) waiting([0]);
      return folder.waitForPlan(index, identity, this.#signal, step.name, limits);
    }
    const made = resume ? await folder.plan(index, identity) : undefined;
    if (made !== undefined) return made.plan;
    const was = resume ? await folder.planIdentity(index) : undefined;
    // A stage before it that was made anew has said so already.
    if (was !== undefined && !this.#anew)
      this.#warn(`the plan of step "${step.name}" is made anew: ${changeOf(was, identity)}.`);
    if (index > 1 || !this.#isDirect) await folder.waitForShards(index - 1, before, this.#signal, waiting, limits);
    const parts = Array.from({ length: shards.world }, (_, rank) => this.#readStage(folder, index - 1, rank));
    const plan = await counter!.plan(this.#admitted(parts.length === 1 ? parts[0]! : mergeByPosition(parts)));
    this.#keys.forget();
    return folder.writePlan(index, identity, plan, step.name);
  }

  async *#keyedSource(): AsyncGenerator<Keyed<object>> {
    const { rank, world } = this.#settings.shards;
    let position = 0;
    for await (const row of fromSource(this.#source)) {
      if (position % world === rank) yield { row, key: this.#sourceKey(row, position) };
      position++;
    }
  }

  #sourceKey(row: object, position: number): RowKey {
    const { id } = this.#settings;
    if (id === undefined) return { id: String(position), position, lineage: [] };
    let given: unknown;
    try {
      given = (id as (row: object, position: number) => unknown)(row, position);
    } catch (cause) {
      throw new DataOptionError('pipeline', `"id" threw at row ${position + 1}: ${messageOf(cause)}`);
    }
    if (typeof given === 'string') return { id: given, position, lineage: [] };
    throw new DataOptionError('pipeline', `"id" must give a text, but gave ${typeof given} for row ${position + 1}.`);
  }

  /** Rows that are known by their keys from now on. */
  async *#admitted(rows: AsyncIterable<Keyed<object>>): AsyncGenerator<object> {
    for await (const { row, key } of rows) yield this.#keys.admit(row, key);
  }

  async *#keyed(rows: AsyncIterable<object>): AsyncGenerator<Keyed<object>> {
    for await (const row of rows) yield { row, key: this.#keys.require(row, 'pipeline', 0) };
  }

  async #workFolder(): Promise<WorkFolder> {
    if (this.#folder === undefined) {
      this.#temporary =
        this.#settings.workFolder === undefined ? await mkdtemp(join(tmpdir(), 'posttrain-pipeline-')) : undefined;
      this.#folder = new WorkFolder(this.#settings.workFolder ?? this.#temporary!, this.#settings.shards);
    }
    return this.#folder;
  }

  #warnOfVersions(): void {
    for (const { step } of this.#counters) {
      if (step.version === undefined) {
        this.#warn(`step "${step.name}" has no version: a change of what its functions have captured is not noticed.`);
      }
    }
  }

  #warn(warning: string): void {
    this.warnings.push(warning);
    this.#settings.onWarning?.(warning);
  }
}

/** The rows after steps, of which the first gets the plan. */
async function* chain(
  source: AsyncIterable<object>,
  counters: readonly StepCounter[],
  plan?: unknown,
): AsyncGenerator<object> {
  let rows = source;
  for (const [i, counter] of counters.entries()) rows = counter.apply(rows, i === 0 ? plan : undefined);
  yield* rows;
}

function stagesOf(counters: readonly StepCounter[]): Stage[] {
  const starts = [0, ...counters.flatMap(({ step }, i) => (step.plan === undefined ? [] : [i]))];
  return starts.map((first, i) => ({ first, counters: counters.slice(first, starts[i + 1] ?? counters.length) }));
}

const stepsOf = ({ counters }: Stage): AnyStep[] => counters.map(({ step }) => step);
const reportsOf = ({ counters }: Stage): StepReport[] => counters.map((counter) => counter.report());
const nameOf = ({ counters }: Stage): string => counters.at(-1)?.step.name ?? 'pipeline';
const showSource = ({ rows, ended, hash }: SourceMark): string =>
  `${hash.slice(0, 16)} (${rows} rows${ended ? '' : ', not all'})`;
