import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  openSafetensors,
  syncFolder,
  type Tensor,
  tensor,
  writeAtomically,
  writeSafetensors,
} from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';

/** What `Trainer.snapshot` gives and `Trainer.restore` takes. */
export interface TrainerSnapshot {
  readonly step: number;
  readonly tensors: Readonly<Record<string, Tensor>>;
}

/** The state of a run beside its tensors, as JSON. Hugging Face's field names where it has them. */
export type RunState = { readonly global_step: number } & Readonly<Record<string, unknown>>;

export interface CheckpointToSave {
  readonly snapshot: TrainerSnapshot;
  readonly state: RunState;
  /** Writes the model or adapter files into the checkpoint, for others to load. */
  writeModel?(folder: string): Promise<void>;
  /** Keep this many of the newest checkpoints. Default: all. */
  readonly keep?: number;
}

/** A folder that is not a complete checkpoint, or not one of this run. */
export class CheckpointError extends PosttrainError {
  constructor(folder: string, problem: string, options?: ErrorOptions) {
    super('CHECKPOINT', `${folder}: ${problem}`, options);
  }
}

const TENSORS = 'optimizer.safetensors';
const STATE = 'trainer_state.json';
const NAME = /^checkpoint-(\d+)$/;
const UNFINISHED = /^\.checkpoint-\d+\.\d+\.tmp(\.old\.tmp)?$/;

/**
 * Writes `directory/checkpoint-<step>/`: trained parameters and optimizer state in optimizer.safetensors, the run's state
 * in trainer_state.json, and the model's own files. The folder appears only when all of it is on disk.
 *
 * One run at a time may write to a directory: what an interrupted run left unfinished there is removed.
 *
 * @returns the folder
 */
export async function saveCheckpoint(
  directory: string,
  { snapshot, state, writeModel, keep }: CheckpointToSave,
): Promise<string> {
  const folder = join(directory, `checkpoint-${snapshot.step}`);
  const temporary = join(directory, `.checkpoint-${snapshot.step}.${process.pid}.tmp`);
  await mkdir(directory, { recursive: true });
  for (const name of await readdir(directory)) {
    if (UNFINISHED.test(name)) await rm(join(directory, name), { recursive: true, force: true });
  }
  try {
    await mkdir(temporary);
    await writeModel?.(temporary);
    await writeSafetensors(join(temporary, TENSORS), Object.entries(snapshot.tensors).map(toWrite));
    const json = new TextEncoder().encode(`${JSON.stringify(state, null, 2)}\n`);
    await writeAtomically((files) => files.stage(join(temporary, STATE), (write) => write(json)));
    await replaceFolder(folder, temporary);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  await syncFolder(dirname(folder));
  if (keep !== undefined) {
    // Of this run, that is: a folder may hold later checkpoints of another one, which are not this one's to delete.
    const own = (await checkpointsIn(directory)).filter(({ step }) => step <= snapshot.step);
    for (const { path } of own.slice(Math.max(1, keep))) await rm(path, { recursive: true, force: true });
  }
  return folder;
}

/** Puts `next` where `folder` is. What was there is complete until the new one has its place, though under another name. */
async function replaceFolder(folder: string, next: string): Promise<void> {
  const aside = `${next}.old.tmp`;
  const exists = await rename(folder, aside).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
  await rename(next, folder);
  if (exists) await rm(aside, { recursive: true, force: true });
}

/**
 * Throws when a run that starts at its beginning would write into a directory that has checkpoints already: they would
 * be mistaken for its own.
 */
export async function refuseUsedFolder(directory: string): Promise<void> {
  const latest = await latestCheckpoint(directory);
  if (latest === undefined) return;
  throw new CheckpointError(
    latest,
    'belongs to an earlier run; resume that one, choose another output folder, or delete it.',
  );
}

/** Options that decide a run's result, by name. */
export type DecisiveSettings = Readonly<Record<string, string | number | boolean>>;

/** Throws when a run with these settings would go on from a checkpoint of a run with others, naming what differs. */
export function refuseOtherSettings(folder: string, saved: DecisiveSettings, current: DecisiveSettings): void {
  const names = new Set([...Object.keys(saved), ...Object.keys(current)]);
  const changed = [...names].filter((name) => saved[name] !== current[name]);
  if (changed.length === 0) return;
  const was = changed.map((name) => `${name} was ${saved[name]} and is ${current[name]}`).join('; ');
  throw new CheckpointError(folder, `belongs to another run: ${was}. Use another outputFolder, or the same options.`);
}

/** The checkpoint with the highest step in a directory; undefined when it has none. */
export async function latestCheckpoint(directory: string): Promise<string | undefined> {
  return (await checkpointsIn(directory))[0]?.path;
}

/** Reads what `saveCheckpoint` wrote; the tensors are in memory of their own. @throws CheckpointError */
export async function loadCheckpoint(folder: string): Promise<{ snapshot: TrainerSnapshot; state: RunState }> {
  let state: RunState;
  try {
    state = JSON.parse(await readFile(join(folder, STATE), 'utf8')) as RunState;
  } catch (cause) {
    throw new CheckpointError(folder, `is not a checkpoint: ${STATE} cannot be read.`, { cause });
  }
  if (!Number.isInteger(state?.global_step)) throw new CheckpointError(folder, `${STATE} has no "global_step".`);
  const file = await openSafetensors(join(folder, TENSORS));
  try {
    const tensors: Record<string, Tensor> = {};
    for (const name of file.tensors.keys()) {
      const { data, shape, dtype } = await file.read(name);
      tensors[name] = tensor(data, shape, dtype);
    }
    return { snapshot: { step: state.global_step, tensors }, state };
  } finally {
    await file.close();
  }
}

/** Newest first. */
async function checkpointsIn(directory: string): Promise<{ step: number; path: string }[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names
    .flatMap((name) => {
      const step = NAME.exec(name)?.[1];
      return step === undefined ? [] : [{ step: Number(step), path: join(directory, name) }];
    })
    .sort((a, b) => b.step - a.step);
}

function toWrite([name, value]: [string, Tensor]) {
  const { dtype, shape } = value;
  const data = async () => {
    const host = await value.data();
    // The reference engine computes in float64, which files do not have.
    return host instanceof Float64Array ? Float32Array.from(host) : host;
  };
  return { name, dtype, shape, data };
}
