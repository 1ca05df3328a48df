/** Small runs of the job in processes of their own, for its tests. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

export const model = join(import.meta.dirname, '..', 'pretrain-tiny', 'model');

/** A folder that goes when the tests of the file have ended. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'main-job-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function jobIn(folder: string) {
  const argumentsOf = (out: string, flags: readonly string[]): string[] => {
    const small = ['--problems', '8', '--sft-steps', '2', '--grpo-steps', '2', '--prompts-per-step', '2'];
    const job = ['--import', 'tsx', join(import.meta.dirname, 'run.ts')];
    return [...job, '--out', join(folder, out), ...small, ...flags];
  };

  const run = (out: string, ...flags: string[]) =>
    spawnSync(process.execPath, argumentsOf(out, flags), { encoding: 'utf8' });

  /** Runs the job until a file of its output is there, and kills it. */
  const runUntil = (file: string, out: string, ...flags: string[]): Promise<void> => {
    const job = spawn(process.execPath, argumentsOf(out, flags), { stdio: 'ignore' });
    return new Promise((resolve, reject) => {
      const watch = setInterval(() => {
        if (existsSync(join(folder, file))) job.kill('SIGKILL');
      }, 5);
      job.on('exit', (code, signal) => {
        clearInterval(watch);
        if (signal === 'SIGKILL') resolve();
        else reject(new Error(`the job ended with ${code} before ${file} was there`));
      });
    });
  };

  /** What a run has found out, without the times that it took. */
  const results = (out: string): unknown => {
    const text = (name: string) => readFileSync(join(folder, out, name), 'utf8');
    const metrics = text('grpo/metrics.jsonl').replaceAll(/"step_time":[^,}]*/g, '');
    const adapter = createHash('sha256').update(readFileSync(join(folder, out, 'adapter/adapter_model.safetensors')));
    return [text('scaling.json'), metrics, adapter.digest('hex')];
  };

  return { run, runUntil, results };
}
