/**
 * The folder that a run of the job writes to: new, resumed, refused, or replaced whole, as the user says. `job.json` in it
 * says which run it is and whether it has ended.
 */
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type DecisiveSettings, PosttrainError, settingDifferences, showDifferences } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { lockFolder, RUN_LOCK } from '@posttrain/training';

/** What `job.json` holds. */
interface JobState {
  /** What decides the results, by flag. */
  readonly settings: DecisiveSettings;
  readonly finished: boolean;
}

export interface OutputRequest {
  readonly folder: string;
  /** What decides the results of this run. */
  readonly settings: DecisiveSettings;
  /**
   * `new`: a used folder is refused. `resume`: go on with the run that is there. `replace`: write beside it, and take its
   * place when all is there. `next`: go on with an unfinished run of these settings, else take a folder that is free.
   */
  readonly mode: 'new' | 'resume' | 'replace' | 'next';
}

export interface Output {
  /** Where to write. */
  readonly folder: string;
  /** Whether a run that was interrupted goes on. */
  readonly resumed: boolean;
  /** To be called when everything is written; gives the folder that then has it. */
  finish(): Promise<string>;
}

/** A folder that this run may not use. */
export class OutputError extends PosttrainError {
  constructor(folder: string, problem: string) {
    super('OUTPUT', `${folder}: ${problem}`);
  }
}

const STATE = 'job.json';

/** Finds or makes the folder of a run. @throws OutputError saying what is there, and with which flag to go on */
export async function openOutput({ folder, settings, mode }: OutputRequest): Promise<Output> {
  if (mode === 'next') return openOutput({ folder: await nextFolder(folder, settings), settings, mode: 'resume' });
  if (mode === 'replace') return openReplacement(folder, settings);
  const state = await stateOf(folder);
  if (state === 'free') return begin(folder, settings);
  if (state === 'foreign') {
    throw new OutputError(folder, 'is not empty, and not the folder of a run of this job. Give --out another folder.');
  }
  if (mode === 'new') {
    const what = state.finished ? 'the results of a run' : 'a run that was interrupted; --resume goes on with it';
    throw new OutputError(folder, `holds ${what}. --replace puts a new run in its place, once it is complete.`);
  }
  const changed = settingDifferences(state.settings, settings);
  if (changed.length > 0) {
    throw new OutputError(
      folder,
      `holds another run: ${showDifferences(changed)}. Give the same flags to go on with it, or another --out.`,
    );
  }
  if (state.finished) {
    throw new OutputError(folder, 'holds this run, and it has ended: there is nothing to go on with. See report.html.');
  }
  return running(folder, settings, true);
}

/** The folder itself while it is free or has this run unfinished; else the first of `FOLDER-2`, `FOLDER-3`, … that is. */
async function nextFolder(folder: string, settings: DecisiveSettings): Promise<string> {
  for (let number = 1; ; number++) {
    const candidate = number === 1 ? folder : `${folder}-${number}`;
    const state = await stateOf(candidate);
    if (state === 'free') return candidate;
    if (state !== 'foreign' && !state.finished && settingDifferences(state.settings, settings).length === 0)
      return candidate;
  }
}

/** A run beside the folder that it will replace. What is there stays whole until the new one is. */
async function openReplacement(folder: string, settings: DecisiveSettings): Promise<Output> {
  const [next, aside] = [`${folder}.new`, `${folder}.old`];
  const begun = await stateOf(next);
  if (begun === 'foreign') throw new OutputError(next, 'is in the way, and not the folder of a run of this job.');
  // A finished one was killed between the two renames of `finish`, which it then does again.
  const goesOn = begun !== 'free' && settingDifferences(begun.settings, settings).length === 0;
  if (!goesOn) {
    if (!existsSync(folder) && existsSync(aside)) await rename(aside, folder);
    const state = await stateOf(folder);
    if (state === 'free') return openOutput({ folder, settings, mode: 'new' });
    if (state === 'foreign') {
      throw new OutputError(folder, 'is not empty, and not the folder of a run of this job, so it is not replaced.');
    }
    if (begun !== 'free') await rm(next, { recursive: true });
  }
  const output = await running(next, settings, goesOn);
  const finish = async () => {
    await output.finish();
    if (existsSync(folder)) {
      await rm(aside, { recursive: true, force: true });
      await rename(folder, aside);
    }
    await rename(next, folder);
    await rm(aside, { recursive: true, force: true });
    return folder;
  };
  return { ...output, finish };
}

const begin = (folder: string, settings: DecisiveSettings) => running(folder, settings, false);

/** The folder is this run's while it goes on: another one that comes meanwhile is refused by name. */
async function running(folder: string, settings: DecisiveSettings, resumed: boolean): Promise<Output> {
  const lock = await lockFolder(folder, (message) => console.warn(message));
  if (!resumed) await writeState(folder, { settings, finished: false });
  const finish = async () => {
    await lock.check();
    await writeState(folder, { settings, finished: true });
    lock.release();
    return folder;
  };
  return { folder, resumed, finish };
}

async function stateOf(folder: string): Promise<JobState | 'free' | 'foreign'> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'free';
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') throw new OutputError(folder, 'is a file, not a folder.');
    throw error;
  }
  if (names.every((name) => name === RUN_LOCK)) return 'free';
  if (!names.includes(STATE)) return 'foreign';
  try {
    const state = JSON.parse(await readFile(join(folder, STATE), 'utf8')) as JobState;
    if (typeof state.settings === 'object' && state.settings !== null) return state;
  } catch {}
  throw new OutputError(folder, `its ${STATE} cannot be read; delete the folder, or give --out another one.`);
}

const writeState = (folder: string, state: JobState) => writeJson(join(folder, STATE), state);

/** Writes a JSON file, whole or not at all. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const json = Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
  await writeAtomically((files) => files.stage(path, (write) => write(json)));
}
