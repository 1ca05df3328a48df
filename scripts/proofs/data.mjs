// The door of data: near-duplicates, found in stages; a run that is killed goes on at the stage where it was.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { filter, map, minhashDeduplicate, pipeline, readRows, writeRows } from '@posttrain/data';
import { testDataStep } from '@posttrain/data/testing';
import { it, proof } from './proof.mjs';

const words = (seed) =>
  Array.from({ length: 40 }, (_, i) => `word${1000 * seed + i}`.replace('word', 'abcdefghij'[seed % 10])).join(' ');
const texts = Array.from({ length: 60 }, (_, i) => ({ text: `${words(i % 20)}${i < 20 ? '' : ` and ${i}`}` }));

async function clean(workFolder, into, fatal) {
  let seen = 0;
  const watch = (row) => {
    if (fatal && ++seen === 10) process.kill(process.pid, 'SIGKILL');
    return row;
  };
  const run = pipeline(
    () => texts,
    [
      map('length', (row) => ({ ...row, length: row.text.length }), { version: '1' }),
      minhashDeduplicate(),
      map('watched', watch, { version: '1' }),
      minhashDeduplicate({ score: ({ length }) => length }),
    ],
    { workFolder, onWarning: () => {} },
  );
  await writeRows(into, run.rows);
  const rows = [];
  for await (const row of readRows(into)) rows.push(row);
  return { rows, report: run.report() };
}

const [, program, folder] = process.argv;
if (folder) await clean(join(folder, 'work'), join(folder, 'clean.jsonl'), true);

proof('MinHash, killed and resumed, keeps the same rows', async (folder) => {
  const { signal, stderr } = spawnSync(process.execPath, [program, folder], { encoding: 'utf8' });
  assert.equal(signal, 'SIGKILL', stderr);
  assert.ok(!existsSync(join(folder, 'clean.jsonl')) && readdirSync(join(folder, 'work')).length > 0);
  const resumed = await clean(join(folder, 'work'), join(folder, 'clean.jsonl'));
  const whole = await clean(join(folder, 'other'), join(folder, 'whole.jsonl'));
  assert.deepEqual(resumed.rows, whole.rows);
  assert.deepEqual(resumed.report, whole.report);
  assert.ok(whole.rows.length > 0 && whole.rows.length < texts.length, `${whole.rows.length} rows`);
});

if (!folder)
  testDataStep(it, () => filter('short', ({ text }) => text.length < 250, { version: '1' }), {
    rows: texts.slice(0, 12),
  });
