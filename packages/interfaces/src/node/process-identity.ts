import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process, told from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /** When the system says the process began, in its own units; null where it does not say. */
  readonly began: string | null;
}

/** This process. */
export const thisProcess = (): ProcessIdentity => ({
  pid: process.pid,
  host: hostname(),
  began: beganAt(process.pid),
});

/**
 * Whether a process has ended. Of another host nothing is known, so it counts as running; so does a process whose number
 * is in use where the system does not say since when.
 */
export function hasEnded({ pid, host, began }: ProcessIdentity): boolean {
  if (host !== hostname()) return false;
  if (!isRunning(pid)) return true;
  const now = beganAt(pid);
  return began !== null && now !== null && began !== now;
}

/** Eight hexadecimal digits that stand for this host in names of files. */
export const hostTag = (): string => createHash('sha256').update(hostname()).digest('hex').slice(0, 8);

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is alive, and another user's.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Linux: the boot's name and the start time in clock ticks since then, the 22nd field of /proc/PID/stat. */
function beganAt(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the command in parentheses, which may hold anything.
    const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()} ${started}`;
  } catch {
    return null;
  }
}
