import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CausalLM } from '@posttrain/lm';
import { loadAdapter } from '@posttrain/peft';
import { describe, expect, it } from 'vitest';
import { problemRows } from '../pretrain-tiny/problem.js';
import { jobIn, model, temporaryFolder } from './test-job.js';

const folder = temporaryFolder();
const { run, runUntil, results } = jobIn(folder);

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

  it('goes on where it was killed, to the same results', async () => {
    expect(run('whole').status).toBe(0);
    await runUntil('killed/grpo/checkpoint-1', 'killed');
    const resumed = run('killed', '--resume');
    expect(resumed.stdout).toContain('Going on with the run in');
    expect(results('killed')).toEqual(results('whole'));
  }, 600_000);

  it('says what is wrong with a row, without a stack', () => {
    const data = join(folder, 'bad.jsonl');
    writeFileSync(data, '{"prompt": "1+1", "answer": 2}\n{"question": "2+2"}\n');
    const { status, stderr } = run('bad', '--model', model, '--data', data);
    expect(status).toBe(1);
    expect(stderr).toMatch(/bad\.jsonl, row 2: needs "prompt"/);
    expect(stderr).not.toMatch(/\n\s+at /);
    const typo = run('bad', '--grpo-step', '3');
    expect(typo.stderr).toMatch(/there is no option --grpo-step\. Did you mean --grpo-steps\?/);
    expect(typo.status).toBe(2);
    expect(run('bad', '--help').stdout).toMatch(/Usage: npm start[\s\S]*--completions-per-prompt/);
  });
});
