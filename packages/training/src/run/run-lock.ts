import { randomBytes } from 'node:crypto';
import { readFileSync, unlinkSync } from 'node:fs';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { assertPath, PosttrainError } from '@posttrain/interfaces';
import {
  hasEnded,
  makeFolder,
  type ProcessIdentity,
  temporaryName,
  thisProcess,
  writing,
} from '@posttrain/interfaces/node';
import { CheckpointError } from './checkpoint.js';

/** The file by which a folder is a run's. */
export const RUN_LOCK = '.posttrain-run.lock';

interface Holder extends ProcessIdentity {
  /** Tells locks of one process apart. */
  readonly token: string;
  readonly started: string;
  readonly command: string;
}

/** Another run is writing to the folder. */
export class RunLockedError extends PosttrainError {
  constructor(folder: string, { pid, host, started, command }: Holder) {
    super(
      'RUN_LOCKED',
      `${folder}: another run is writing to it (process ${pid} on ${host}, since ${started}: ${command}). Wait for it, ` +
        `stop it, or use another outputFolder. If it is gone for certain, delete ${join(folder, RUN_LOCK)}.`,
    );
  }
}

/** An acquired lock of a run's folder. */
export interface RunLock {
  /** Ownership check: throws when the lock is no longer this run's, as it was deleted. @throws CheckpointError */
  check(): Promise<void>;
  release(): void;
}

/**
 * Makes a folder this run's until `release`, or until the process ends. A lock of a process of this host that has ended is
 * taken over.
 *
 * @throws RunLockedError naming the holder; FileError
 */
export async function lockFolder(folder: string, onWarning: (message: string) => void): Promise<RunLock> {
  assertPath('lockFolder', 'folder', folder);
  await makeFolder(folder);
  const path = resolve(folder, RUN_LOCK);
  const token = randomBytes(8).toString('hex');
  const command = process.argv.slice(1).join(' ').slice(0, 200);
  const own: Holder = { ...thisProcess(), token, started: new Date().toISOString(), command };
  while (!(await writing(folder, () => createWhole(folder, path, `${JSON.stringify(own)}\n`)))) {
    const holder = await readHolder(path);
    if (holder === undefined) continue;
    if (!hasEnded(holder)) throw new RunLockedError(folder, holder);
    if (await takeAway(folder, path, holder)) {
      onWarning(`${folder}: took over the lock of process ${holder.pid}, which has ended without releasing it.`);
    }
  }
  held.set(path, token);
  watchProcess();
  return {
    async check() {
      if ((await readHolder(path))?.token === token) return;
      throw new CheckpointError(folder, 'its lock has been taken from this run, so another one may be writing to it.');
    },
    release() {
      releaseNow(path, token);
      held.delete(path);
    },
  };
}

/** Creates a file that is there with all of its content or not at all; false when there is one already. */
async function createWhole(folder: string, path: string, text: string): Promise<boolean> {
  const temporary = temporaryName(folder, 'lock');
  const handle = await open(temporary, 'wx');
  try {
    await handle.writeFile(text);
  } finally {
    await handle.close();
  }
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code ?? '')) throw error;
    // File systems without hard links: the content may be seen too late, but there is one creator all the same.
    const lock = await open(path, 'wx').catch((failed: NodeJS.ErrnoException) => {
      if (failed.code === 'EEXIST') return undefined;
      throw failed;
    });
    await lock?.writeFile(text);
    await lock?.close();
    return lock !== undefined;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Undefined when there is no lock any more. An unreadable lock counts as held. */
async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const holder = JSON.parse(await readFile(path, 'utf8')) as Partial<Holder> | null;
    const isWhole =
      Number.isInteger(holder?.pid) && typeof holder?.host === 'string' && typeof holder.token === 'string';
    return isWhole ? (holder as Holder) : UNREADABLE;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : UNREADABLE;
  }
}

const UNREADABLE: Holder = {
  ...{ token: '', pid: 0, host: 'unknown', began: null, started: 'unknown' },
  command: 'its lock cannot be read',
};

/** Moves a stale lock out of the way; false when another process was faster, whose lock is then put back. */
async function takeAway(folder: string, path: string, stale: Holder): Promise<boolean> {
  const aside = temporaryName(folder, 'stale-lock');
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  const taken = await readHolder(aside);
  const isStale = taken?.token === stale.token;
  if (!isStale) await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
  return isStale;
}

/** Locks of this process, with their tokens. */
const held = new Map<string, string>();

function releaseNow(path: string, token: string): void {
  try {
    if ((JSON.parse(readFileSync(path, 'utf8')) as Holder).token === token) unlinkSync(path);
  } catch {
    // It is gone, or the disk is: the next run sees that the process has ended.
  }
}

function releaseAll(): void {
  for (const [path, token] of held) releaseNow(path, token);
  held.clear();
}

let isWatching = false;

/** Releases the locks where the process is about to end. Signals that the program handles itself are its own business. */
function watchProcess(): void {
  if (isWatching) return;
  isWatching = true;
  process.on('exit', releaseAll);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const onSignal = () => {
      if (process.listenerCount(signal) > 1) return;
      releaseAll();
      process.off(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}
