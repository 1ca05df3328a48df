import { constants } from 'node:os';
import type { SandboxResult } from '@posttrain/interfaces';

const SIGXCPU = 24;
const SIGXFSZ = 25;

/** What a signal of Linux says of an end: which limit it stands for, if any. */
export function endOf(signal: number): Pick<SandboxResult, 'signal' | 'stoppedBy'> {
  const name = Object.entries(constants.signals).find(([, value]) => value === signal)?.[0] ?? `signal ${signal}`;
  return { signal: name, stoppedBy: signal === SIGXCPU ? 'cpu-time' : signal === SIGXFSZ ? 'file-size' : null };
}
