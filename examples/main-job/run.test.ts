import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CausalLM } from '@posttrain/lm';
import { loadAdapter } from '@posttrain/peft';
import { afterAll, describe, expect, it } from 'vitest';
import { problemRows } from '../pretrain-tiny/problem.js';

const folder = mkdtempSync(join(tmpdir(), 'main-job-'));
const model = join(import.meta.dirname, '..', 'pretrain-tiny', 'model');
const tsx = createRequire(import.meta.url).resolve('tsx/cli');

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function argumentsOf(out: string, flags: readonly string[]): string[] {
  const small = ['--problems', '8', '--sft-steps', '2', '--grpo-steps', '2', '--prompts-per-step', '2'];
  return [tsx, join(import.meta.dirname, 'run.ts'), '--out', join(folder, out), ...small, ...flags];
}

const run = (out: string, ...flags: string[]) =>
  spawnSync(process.execPath, argumentsOf(out, flags), { encoding: 'utf8' });

/** Runs the job until a file of its output is there, and kills it. */
function runUntil(file: string, out: string, ...flags: string[]): Promise<void> {
  // Not through tsx's own process, which would leave the job running.
  const [, ...rest] = argumentsOf(out, flags);
  const job = spawn(process.execPath, ['--import', 'tsx', ...rest], { stdio: 'ignore' });
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
}

/** What a run has found out, without the times that it took. */
function results(out: string): unknown {
  const text = (name: string) => readFileSync(join(folder, out, name), 'utf8');
  const metrics = text('grpo/metrics.jsonl').replaceAll(/"step_time":[^,}]*/g, '');
  return [
    text('scaling.json'),
    metrics,
    createHash('sha256')
      .update(readFileSync(join(folder, out, 'adapter/adapter_model.safetensors')))
      .digest('hex'),
  ];
}

describe('the main job', () => {
  it('runs on a model folder and a file of rows, and writes what it says', async () => {
    const data = join(folder, 'rows.jsonl');
    const rows = problemRows({ split: 'train', count: 80, seed: 3 });
    writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const { status, stdout, stderr } = run('files', '--model', model, '--data', data, '--max-tokens', '44');
    expect(stderr).not.toMatch(/error/i);
    expect(status).toBe(0);
    for (const text of ['8 held-out problems', 'pass@1', 'majority-vote', 'Merging changed'])
      expect(stdout).toContain(text);

    const written = (name: string) => join(folder, 'files', name);
    const base = await CausalLM.load(model);
    const adapter = await loadAdapter(base, written('adapter'));
    expect(adapter.report.matched.length).toBe(28);
    expect((await CausalLM.load(written('model'))).config.vocabSize).toBe(base.config.vocabSize);
    expect(readFileSync(written('report.html'), 'utf8')).toContain('Test-time scaling');
    for (const name of ['eval-base.jsonl', 'eval-sft.jsonl', 'eval-grpo.jsonl', 'grpo/metrics.jsonl', 'scaling.json']) {
      expect(existsSync(written(name)), name).toBe(true);
    }
  });

  it('goes on where it was killed, to the same results; refuses or replaces a used folder, as it is told', async () => {
    expect(run('whole').status).toBe(0);
    const wanted = results('whole');

    // Killed in four stages, one after the other.
    for (const file of ['eval-base.jsonl', 'sft/checkpoint-1', 'grpo/checkpoint-1', 'scaling-samples.jsonl'])
      await runUntil(`killed/${file}`, 'killed', ...(file === 'eval-base.jsonl' ? [] : ['--resume']));
    const refused = run('killed');
    expect(refused.stderr).toMatch(/holds a run that was interrupted; --resume goes on with it/);
    expect(run('killed', '--resume', '--seed', '1').stderr).toMatch(/holds another run: seed was 0 and is 1/);
    const resumed = run('killed', '--resume');
    expect(resumed.stdout).toContain('Going on with the run in');
    expect(results('killed')).toEqual(wanted);

    expect(run('killed').stderr).toMatch(/holds the results of a run. --replace puts a new run in its place/);
    expect(run('killed', '--resume').stderr).toMatch(/there is nothing to go on with/);
    // A replacement that is killed leaves the old results whole, and goes on.
    await runUntil('killed.new/grpo/checkpoint-1', 'killed', '--replace', '--seed', '1');
    expect(results('killed')).toEqual(wanted);
    const replaced = run('killed', '--replace', '--seed', '1');
    expect(replaced.stdout).toContain('Going on with the run in');
    expect(results('killed')).not.toEqual(wanted);
    for (const leftover of ['killed.new', 'killed.old']) expect(existsSync(join(folder, leftover))).toBe(false);

    // A folder that is not the job's is neither used nor replaced.
    cpSync(join(folder, 'whole/adapter'), join(folder, 'mine'), { recursive: true });
    for (const flags of [[], ['--resume'], ['--replace']])
      expect(run('mine', ...flags).stderr).toMatch(/not the folder of a run of this job/);
    expect(existsSync(join(folder, 'mine/adapter_model.safetensors'))).toBe(true);
  });

  it('says what is wrong with a row, without a stack', () => {
    const data = join(folder, 'bad.jsonl');
    writeFileSync(data, '{"prompt": "1+1", "answer": 2}\n{"question": "2+2"}\n');
    const { status, stderr } = run('bad', '--model', model, '--data', data);
    expect(status).toBe(1);
    expect(stderr).toMatch(/bad\.jsonl, row 2: needs "prompt"/);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(run('bad', '--grpo-step', '3').stderr).toMatch(/--grpo-step.*The flags are.*--grpo-steps/s);
  });
});
