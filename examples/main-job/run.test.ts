import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

function run(out: string, ...flags: string[]) {
  const small = ['--problems', '8', '--sft-steps', '2', '--grpo-steps', '2', '--prompts-per-step', '2'];
  const args = [tsx, join(import.meta.dirname, 'run.ts'), '--out', join(folder, out), ...small, ...flags];
  return spawnSync(process.execPath, args, { encoding: 'utf8' });
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
