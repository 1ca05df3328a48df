import { constants } from 'node:os';
import type { SandboxResult } from '@posttrain/interfaces';
import type { Output } from './output.js';

const SIGXCPU = 24;
const SIGXFSZ = 25;

/** What a signal of Linux says of an end: which limit it stands for, if any. */
export function endOf(signal: number): Pick<SandboxResult, 'signal' | 'stoppedBy'> {
  const name = Object.entries(constants.signals).find(([, value]) => value === signal)?.[0] ?? `signal ${signal}`;
  return { signal: name, stoppedBy: signal === SIGXCPU ? 'cpu-time' : signal === SIGXFSZ ? 'file-size' : null };
}

/** The end of a program as a shell says it: its exit code, or 128 and the number of the signal that ended it. */
export function resultOf(code: number, output: Output): SandboxResult {
  if (code <= 128) return { exitCode: code, stoppedBy: null, ...output };
  return { exitCode: null, ...endOf(code - 128), ...output };
}
