import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { npm } from './setup.mjs';

/** Runs npm in a folder, within ten minutes, and gives what it printed; throws with what it said where it failed. */
export function runNpm(folder: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): string {
  const [command = '', ...before] = npm();
  const result = spawnSync(command, [...before, ...args], { cwd: folder, env, encoding: 'utf8', timeout: 600_000 });
  const { status, signal, stdout, stderr } = result;
  if (status !== 0)
    throw new Error(`npm ${args[0]} in ${basename(folder)} ended with ${status ?? signal}:\n${stdout}${stderr}`);
  return stdout;
}
