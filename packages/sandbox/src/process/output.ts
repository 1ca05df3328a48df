import type { SandboxResult } from '@posttrain/interfaces';
import type { ProcessResult } from './run-process.js';

/** What a program has written, and how long it took. */
export type Output = Omit<SandboxResult, 'exitCode' | 'stoppedBy'>;

export const outputOf = ({ stderr, stdout, wallMs }: ProcessResult): Output => ({
  stdout: stdout.bytes().toString(),
  stderr: stderr.bytes().toString(),
  stdoutTruncated: stdout.truncated,
  stderrTruncated: stderr.truncated,
  wallMs,
});
