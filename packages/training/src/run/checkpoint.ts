import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensors, writeSafetensors } from '@posttrain/core-tensor/io';
import { assertArgument, assertPath, PosttrainError } from '@posttrain/interfaces';
import {
  makeFolder,
  removeAbandoned,
  syncFolder,
  temporaryName,
  writeAtomically,
  writing,
} from '@posttrain/interfaces/node';
import { NonFiniteError } from '../trainer/non-finite-error.js';
import { CHECKSUMS, checkFiles, writeChecksums } from './checksums.js';

/** What `Trainer.snapshot` gives and `Trainer.restore` takes. */
export interface TrainerSnapshot {
  readonly step: number;
  readonly tensors: Readonly<Record<string, Tensor>>;
}

/** The state of a run beside its tensors, as JSON. Hugging Face's field names where it has them. */
export type RunState = { readonly global_step: number } & Readonly<Record<string, unknown>>;

/** What a checkpoint is made of. */
export interface CheckpointToSave {
  readonly snapshot: TrainerSnapshot;
  readonly state: RunState;
  /** Arrays and tensors that `state` stands for (`splitState`), in state.safetensors. Default: none. */
  readonly arrays?: Readonly<Record<string, Tensor>>;
  /** Writes the model or adapter files into the checkpoint, for others to load. */
  writeModel?(folder: string): Promise<void>;
  /** Keep this many of the newest checkpoints. Default: all. */
  readonly keep?: number;
  /**
   * A pinned checkpoint (the best): it counts among those that are kept, however old it is. As in transformers, `keep` 1
   * keeps two where it is not the newest.
   */
  readonly best?: string;
}

/** A folder that is not a complete checkpoint, or not one of this run. */
export class CheckpointError extends PosttrainError {
  constructor(folder: string, problem: string, options?: ErrorOptions) {
    super('CHECKPOINT', `${folder}: ${problem}`, options);
  }
}

const TENSORS = 'optimizer.safetensors';
const STATE = 'trainer_state.json';
const ARRAYS = 'state.safetensors';
const NAME = /^checkpoint-(\d+)$/;
/** In trainer_state.json of checkpoints that have checksums.json. */
const FORMAT = 2;

/**
 * Writes `directory/checkpoint-<step>/`: trained parameters and optimizer state in optimizer.safetensors, the run's state
 * in trainer_state.json, the model's own files, and the SHA-256 of each in checksums.json. The folder appears only when all
 * of it is on disk.
 *
 * @returns the folder
 * @throws FileError where the directory cannot be written, NonFiniteError; earlier checkpoints stay as they are
 */
export async function saveCheckpoint(directory: string, checkpoint: CheckpointToSave): Promise<string> {
  assertPath('saveCheckpoint', 'directory', directory);
  const isCheckpoint = typeof checkpoint === 'object' && checkpoint !== null && 'snapshot' in checkpoint;
  assertArgument('saveCheckpoint', 'checkpoint', checkpoint, isCheckpoint, 'an object with snapshot and state');
  const { snapshot, state, arrays = {}, writeModel, keep, best } = checkpoint;
  const folder = join(directory, `checkpoint-${snapshot.step}`);
  const temporary = temporaryName(directory, `checkpoint-${snapshot.step}`);
  await makeFolder(directory);
  await writing(directory, () => removeAbandoned(directory));
  try {
    await writing(directory, () => mkdir(temporary));
    await writeSafetensors(join(temporary, TENSORS), tensorsToWrite(folder, snapshot.tensors));
    if (Object.keys(arrays).length > 0) await writeSafetensors(join(temporary, ARRAYS), asTheyAre(arrays));
    await writeModel?.(temporary);
    const json = new TextEncoder().encode(`${JSON.stringify({ ...state, posttrain_format: FORMAT }, null, 2)}\n`);
    await writeAtomically((files) => files.stage(join(temporary, STATE), (write) => write(json)));
    await writeChecksums(temporary);
    await writing(folder, () => replaceFolder(folder, temporary, temporaryName(directory, 'replaced')));
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  await syncFolder(dirname(folder));
  if (keep !== undefined) {
    // Of this run, that is: a folder may hold later checkpoints of another one, which are not this one's to delete.
    const own = (await checkpointsIn(directory)).filter(({ step }) => step <= snapshot.step);
    const isBest = ({ path }: { readonly path: string }) => best !== undefined && resolve(path) === resolve(best);
    const [newest, ...older] = own.sort((a, b) => b.step - a.step);
    const kept = [newest, ...older.filter(isBest), ...older.filter((one) => !isBest(one))];
    const count = Math.max(older.some(isBest) ? 2 : 1, keep);
    for (const one of kept.slice(count)) await rm(one!.path, { recursive: true, force: true });
  }
  return folder;
}

/** Puts `next` where `folder` is. What was there is complete until the new one has its place, though under another name. */
async function replaceFolder(folder: string, next: string, aside: string): Promise<void> {
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

/** The checkpoint with the highest step in a directory; undefined when it has none. */
export async function latestCheckpoint(directory: string): Promise<string | undefined> {
  return (await checkpointsIn(directory))[0]?.path;
}

/** Options of `loadCheckpoint`. */
export interface LoadCheckpointOptions {
  /** A checkpoint without checksums, as earlier versions wrote them. */
  readonly onWarning?: (message: string) => void;
}

/**
 * Reads what `saveCheckpoint` wrote, after every file of it was compared with its checksum; the tensors are in memory of
 * their own.
 *
 * @throws CheckpointError for a folder that is no checkpoint, and for a damaged one: it names the file, and the newest older
 *   checkpoint that is intact
 */
export async function loadCheckpoint(
  folder: string,
  { onWarning }: LoadCheckpointOptions = {},
): Promise<{ snapshot: TrainerSnapshot; state: RunState; arrays: Readonly<Record<string, Tensor>> }> {
  const problem = await checkFiles(folder);
  if (problem !== undefined && problem !== 'none') throw await damaged(folder, problem);
  let state: RunState;
  try {
    state = JSON.parse(await readFile(join(folder, STATE), 'utf8')) as RunState;
  } catch (cause) {
    if (NAME.test(basename(folder))) throw await damaged(folder, `is not a checkpoint: ${STATE} cannot be read`);
    throw new CheckpointError(
      folder,
      `is not a checkpoint: ${STATE} cannot be read. A checkpoint is a folder as .../checkpoint-12.`,
      { cause },
    );
  }
  if (!Number.isInteger(state?.global_step)) throw new CheckpointError(folder, `${STATE} has no "global_step".`);
  if (problem === 'none') {
    if (state.posttrain_format !== undefined) throw await damaged(folder, `${CHECKSUMS} is missing`);
    onWarning?.(`${folder} has no ${CHECKSUMS}, as it is of an earlier version: whether it is damaged cannot be told.`);
  }
  const tensors = await tensorsIn(join(folder, TENSORS));
  const hasArrays = (await readdir(folder)).includes(ARRAYS);
  const arrays = hasArrays ? await tensorsIn(join(folder, ARRAYS)) : {};
  return { snapshot: { step: state.global_step, tensors }, state, arrays };
}

/** All tensors of a file, in memory of their own. */
async function tensorsIn(path: string): Promise<Record<string, Tensor>> {
  const file = await openSafetensors(path);
  try {
    const tensors: Record<string, Tensor> = {};
    for (const name of file.tensors.keys()) {
      const { data, shape, dtype } = await file.read(name);
      tensors[name] = tensor(data, shape, dtype);
    }
    return tensors;
  } finally {
    await file.close();
  }
}

/** Arrays of a state, which may hold any number. */
const asTheyAre = (arrays: Readonly<Record<string, Tensor>>) =>
  Object.entries(arrays).map(([name, value]) => {
    const data = async () => {
      const host = await value.data();
      return host instanceof Float64Array ? Float32Array.from(host) : host;
    };
    return { name, dtype: value.dtype, shape: value.shape, data };
  });

async function damaged(folder: string, problem: string): Promise<CheckpointError> {
  const older = (await checkpointsIn(dirname(folder))).filter(
    ({ step }) => step < Number(NAME.exec(basename(folder))?.[1]),
  );
  for (const { path } of older) {
    const isIntact = await checkFiles(path).then(
      (found) => found === undefined,
      () => false,
    );
    if (isIntact)
      return new CheckpointError(folder, `${problem}. ${path} is intact: resume from it (resume: '${path}').`);
  }
  return new CheckpointError(folder, `${problem}, and there is no older checkpoint that is intact. Start anew.`);
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

/**
 * Tensors as a file of `folder` holds them. Numbers that a run could not go on from are not written: the checkpoints
 * before are worth more.
 */
export const tensorsToWrite = (folder: string, tensors: TrainerSnapshot['tensors']) =>
  Object.entries(tensors).map(([name, value]) => {
    const { dtype, shape } = value;
    const data = async () => {
      const host = await value.data();
      if (host instanceof Float32Array || host instanceof Float64Array) {
        const at = host.findIndex((x) => !Number.isFinite(x));
        if (at >= 0) throw NonFiniteError.ofCheckpoint(folder, name, host[at]!);
      }
      // The reference engine computes in float64, which files do not have.
      return host instanceof Float64Array ? Float32Array.from(host) : host;
    };
    return { name, dtype, shape, data };
  });
