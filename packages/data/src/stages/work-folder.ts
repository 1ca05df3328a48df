import { access, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { sleep } from '@posttrain/interfaces/concurrency';
import { makeFolder, removeAbandoned, temporaryName, writeAtomically } from '@posttrain/interfaces/node';
import { DataFileError, messageOf } from '../errors.js';
import type { Keyed, Shard, StepReport } from '../step.js';
import { keyOfStage, type StageIdentity } from './identity.js';
import { readKeyedRows, writeKeyedRows } from './row-file.js';
import type { SourceMark } from './source-reader.js';

/** What is known of a finished stage of one shard. */
export interface StageManifest {
  readonly identity: StageIdentity;
  readonly rows: number;
  readonly reports: readonly StepReport[];
  /** Of the first stage. */
  readonly source?: SourceMark;
}

const POLL_MS = [20, 50, 100, 200, 500] as const;
/** After which one that waits says so. */
const SLOW_MS = 10_000;

/** How a shard waits for others: for how long, and who hears of it, once, after ten seconds. */
export interface Waiting {
  readonly seconds: number;
  readonly onSlow: (what: string) => void;
}

/**
 * Files of a pipeline: `shards-W/rank-R/stage-K.rows` with `stage-K.json`, and `shards-W/plan-K.bin` with `plan-K.json`. Each pair is
 * written as one, whole or not at all; a manifest says what its file was made by.
 */
export class WorkFolder {
  readonly #folder: string;
  readonly #shard: Shard;
  #scratch: string | undefined;

  constructor(folder: string, shard: Shard) {
    this.#folder = join(folder, `shards-${shard.world}`);
    this.#shard = shard;
  }

  #file(stage: number, rank: number, extension: string): string {
    return join(this.#folder, `rank-${rank}`, `stage-${stage}.${extension}`);
  }

  #planFile(stage: number, extension: string): string {
    return join(this.#folder, `plan-${stage}.${extension}`);
  }

  /** What is known of a stage of a shard; `undefined` where it is not finished. */
  async manifest(stage: number, rank = this.#shard.rank): Promise<StageManifest | undefined> {
    return readJson<StageManifest>(this.#file(stage, rank, 'json'));
  }

  /** Writes a stage atomically; `finish` is asked for the manifest once all rows are written. */
  async writeStage(
    stage: number,
    step: string,
    rows: AsyncIterable<Keyed<object>>,
    finish: (rows: number) => Promise<StageManifest>,
  ): Promise<StageManifest> {
    let manifest: StageManifest | undefined;
    await writeAtomically(async (files) => {
      let count = 0;
      await files.stage(this.#file(stage, this.#shard.rank, 'rows'), async (write) => {
        count = await writeKeyedRows(rows, write, step);
      });
      const finished = await finish(count);
      manifest = finished;
      await files.stage(this.#file(stage, this.#shard.rank, 'json'), (write) =>
        write(Buffer.from(JSON.stringify(finished))),
      );
    });
    return manifest!;
  }

  async *readStage(stage: number, rank = this.#shard.rank): AsyncGenerator<Keyed<object>> {
    const manifest = await this.manifest(stage, rank);
    const path = this.#file(stage, rank, 'rows');
    if (manifest === undefined) throw new DataFileError({ path }, 'is not finished.');
    yield* readKeyedRows(path, manifest.rows);
  }

  /** Barrier: waits until every shard has finished a stage. `onWait` hears which have not. */
  async waitForShards(
    stage: number,
    identity: StageIdentity,
    signal: AbortSignal,
    onWait: (missing: readonly number[]) => void,
    waiting: Waiting,
  ): Promise<void> {
    const key = keyOfStage(identity);
    const missing = new Set(Array.from({ length: this.#shard.world }, (_, rank) => rank));
    const what = (): string =>
      `stage ${stage + 1} of rank${missing.size > 1 ? 's' : ''} ${[...missing].slice(0, 20).join(', ')}${missing.size > 20 ? ', …' : ''} of ${this.#shard.world}`;
    await this.#poll(signal, waiting, what, async () => {
      const before = missing.size;
      for (const rank of missing) {
        const manifest = await this.manifest(stage, rank);
        if (manifest !== undefined && keyOfStage(manifest.identity) === key) missing.delete(rank);
      }
      if (missing.size > 0 && missing.size < before) onWait([...missing]);
      return missing.size === 0 || undefined;
    });
  }

  /** What the plan of the step that begins a stage was made of; `undefined` where there is none. */
  async planIdentity(stage: number): Promise<StageIdentity | undefined> {
    return (await readJson<{ readonly identity: StageIdentity }>(this.#planFile(stage, 'json')))?.identity;
  }

  /** The plan of the step that begins a stage, if it has been made. */
  async plan(stage: number, identity: StageIdentity): Promise<{ readonly plan: unknown } | undefined> {
    const made = await this.planIdentity(stage);
    if (made === undefined || keyOfStage(made) !== keyOfStage(identity)) return undefined;
    return { plan: deserialize(await readFile(this.#planFile(stage, 'bin'))) };
  }

  async waitForPlan(
    stage: number,
    identity: StageIdentity,
    signal: AbortSignal,
    step: string,
    waiting: Waiting,
  ): Promise<unknown> {
    const what = (): string => `the plan of step "${step}", which rank 0 of ${this.#shard.world} makes`;
    return (await this.#poll(signal, waiting, what, () => this.plan(stage, identity))).plan;
  }

  /** Polling with backoff, until there is an answer. @throws DataFileError after the time to wait */
  async #poll<T>(
    signal: AbortSignal,
    { seconds, onSlow }: Waiting,
    what: () => string,
    ask: () => Promise<T | undefined>,
  ): Promise<T> {
    const remedy =
      'Start those that do not run, with the same source, steps and "workFolder"; those that have failed, again.';
    const since = performance.now();
    let isTold = false;
    for (let attempt = 0; ; attempt++) {
      const answer = await ask();
      if (answer !== undefined) return answer;
      const waited = performance.now() - since;
      if (waited >= 1000 * seconds) {
        throw new DataFileError(
          { path: this.#folder },
          `rank ${this.#shard.rank} has waited ${seconds} s for ${what()}. ${remedy} What is finished stays.`,
        );
      }
      if (!isTold && waited > SLOW_MS) {
        isTold = true;
        onSlow(`rank ${this.#shard.rank} waits for ${what()}. ${remedy}`);
      }
      await sleep(Math.min(POLL_MS[Math.min(attempt, POLL_MS.length - 1)]!, 1000 * seconds), signal);
    }
  }

  /** Saves a plan, and returns it as every shard will read it. */
  async writePlan(stage: number, identity: StageIdentity, plan: unknown, step: string): Promise<unknown> {
    let bytes: Buffer;
    try {
      bytes = serialize(plan);
    } catch (cause) {
      const path = this.#planFile(stage, 'bin');
      throw new DataFileError({ path }, `the plan of step "${step}" cannot be saved: ${messageOf(cause)}`, { cause });
    }
    await writeAtomically(async (files) => {
      await files.stage(this.#planFile(stage, 'bin'), (write) => write(bytes));
      await files.stage(this.#planFile(stage, 'json'), (write) => write(Buffer.from(JSON.stringify({ identity }))));
    });
    return deserialize(bytes);
  }

  /** The folder of this shard, without what killed runs have left of their scratch. */
  async prepare(): Promise<string> {
    const folder = join(this.#folder, `rank-${this.#shard.rank}`);
    await makeFolder(folder);
    await removeAbandoned(folder);
    return folder;
  }

  /** A folder of this run, removed by `close`. */
  async scratch(): Promise<string> {
    if (this.#scratch === undefined) {
      const made = temporaryName(await this.prepare(), 'scratch');
      await mkdir(made);
      this.#scratch = made;
    }
    return this.#scratch;
  }

  async close(): Promise<void> {
    if (this.#scratch !== undefined) await rm(this.#scratch, { recursive: true, force: true });
  }
}

async function readJson<T>(path: string): Promise<T | undefined> {
  if (
    await access(path).then(
      () => false,
      () => true,
    )
  ) {
    return undefined;
  }
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch (cause) {
    throw new DataFileError({ path }, `is damaged: ${messageOf(cause)}. Delete the work folder and run again.`, {
      cause,
    });
  }
}
