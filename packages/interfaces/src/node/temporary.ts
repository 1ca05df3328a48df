import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hostTag, isRunning } from './process-identity.js';

/** A name for what is not finished: hidden, with the process that writes it. */
export const temporaryName = (folder: string, name: string): string =>
  join(folder, `.${name}.${process.pid}.${hostTag()}${randomBytes(4).toString('hex')}.tmp`);

const TEMPORARY = /^\..+\.(\d+)\.([0-9a-f]{8})[0-9a-f]{8}\.tmp$/;

/** Removes what processes of this host that have ended left unfinished in a folder. */
export async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, pid, host] = TEMPORARY.exec(name) ?? [];
    if (pid === undefined || host !== hostTag() || isRunning(Number(pid))) continue;
    await rm(join(folder, name), { recursive: true, force: true });
  }
}
