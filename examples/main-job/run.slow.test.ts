import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { jobIn, temporaryFolder } from './test-job.js';

const folder = temporaryFolder();
const { run, runUntil, results } = jobIn(folder);

it('goes on from every stage, and replaces a used folder only when all is there', async () => {
  expect(run('whole').status).toBe(0);
  const wanted = results('whole');
  const stages = ['eval-base.jsonl', 'sft/checkpoint-1', 'eval-sft.jsonl', 'grpo/checkpoint-1', 'grpo/checkpoint-2'];
  for (const [i, file] of [...stages, 'eval-grpo.jsonl'].entries())
    await runUntil(`killed/${file}`, 'killed', ...(i === 0 ? [] : ['--resume']));
  expect(run('killed', '--resume').stdout).toContain('Going on with the run in');
  expect(results('killed')).toEqual(wanted);

  await runUntil('killed.new/grpo/checkpoint-1', 'killed', '--replace', '--seed', '1');
  expect(results('killed')).toEqual(wanted);
  expect(run('killed', '--replace', '--seed', '1').stdout).toContain('Going on with the run in');
  expect(results('killed')).not.toEqual(wanted);
  for (const leftover of ['killed.new', 'killed.old']) expect(existsSync(join(folder, leftover))).toBe(false);
});
