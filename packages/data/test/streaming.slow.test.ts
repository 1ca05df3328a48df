import { execFileSync } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { mergeParts, streamRows, writeRows } from '../src/index.js';
import { startSlurm, whyNoSlurm } from './slurm.js';
import { useTemporaryFolder } from './temporary-folder.js';

const path = useTemporaryFolder();
const ROWS = 1_000_000;

test('a million rows stream in flat memory, and go on at their row', async () => {
  const file = createWriteStream(path('rows.jsonl'));
  for (let n = 0; n < ROWS; n += 1000) {
    const lines = Array.from({ length: 1000 }, (_, i) => `{"n":${n + i},"text":"${'word '.repeat(20)}"}\n`).join('');
    if (!file.write(lines)) await new Promise<void>((resolve) => file.once('drain', resolve));
  }
  file.end();
  await finished(file);

  const stream = await streamRows(path('rows.jsonl'), { bufferSize: 2000 });
  let [sum, highest, saved] = [0, 0, undefined as unknown];
  const before = process.memoryUsage().rss;
  let after: number[] = [];
  for (let step = 0; step < ROWS / 1000; step++) {
    const rows = await stream.next({ count: 1000 });
    for (const { row } of rows) sum += row.n as number;
    highest = Math.max(highest, process.memoryUsage().rss - before);
    if (step === 699) saved = JSON.parse(JSON.stringify(stream.state()));
    if (step === 700) after = rows.map(({ row }) => row.n as number);
  }
  expect(sum).toBe((ROWS * (ROWS - 1)) / 2);
  // The file has 128 MB, and more as objects.
  expect(highest).toBeLessThan(100 * 2 ** 20);
  const resumed = await streamRows(path('rows.jsonl'), { bufferSize: 2000 });
  resumed.load(saved);
  expect((await resumed.next({ count: 1000 })).map(({ row }) => row.n)).toEqual(after);
}, 300_000);

// Two million rows at first, twenty after them: SCALE_ROWS is the larger.
const LARGE = Number(process.env.SCALE_ROWS ?? 20_000_000);
test.each([
  ['filter,exact,minhash', LARGE],
  // 20 bytes on disk to each character.
  ['substrings', LARGE / 20],
])(
  '%s over ten times the rows take no more memory but some bytes a row',
  (steps, rows) => {
    const program = fileURLToPath(new URL('./scale-run.ts', import.meta.url));
    const [small, large] = [rows / 10, rows].map((count, i) => {
      const folder = path(`scale-${i}`);
      mkdirSync(folder);
      const args = ['--import', 'tsx', program, folder, String(count), steps];
      const printed = execFileSync(process.execPath, args, {
        encoding: 'utf8',
        env: { ...process.env, TMPDIR: folder },
      });
      rmSync(folder, { recursive: true });
      console.log(printed.trim());
      return JSON.parse(printed.trim().split('\n').at(-1)!) as { left: number; peakMiB: number };
    }) as [{ left: number; peakMiB: number }, { left: number; peakMiB: number }];
    expect(large.left).toBeGreaterThan(9 * small.left);
    // MinHash has four bytes a row, three times while its list grows, and the plans some bits.
    expect(large.peakMiB - small.peakMiB).toBeLessThan(150 + (16 * rows) / 2 ** 20);
  },
  10_800_000,
);

const reason = whyNoSlurm();
test.skipIf(reason !== undefined)(
  `a job array of a real Slurm writes its parts${reason === undefined ? '' : ` (skipped: ${reason})`}`,
  async () => {
    const rows = Array.from({ length: 60 }, (_, id) => ({ id, text: `text ${id % 40}` }));
    await writeRows(path('in.jsonl'), rows);
    const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url));
    const root = fileURLToPath(new URL('../../..', import.meta.url));
    const job = `#!/bin/bash\ncd ${root} && ${process.execPath} --import tsx ${cli} run ${path('pipeline.yaml')}\n`;
    writeFileSync(path('job.sh'), job, { mode: 0o755 });
    mkdirSync(path('slurm'));
    const slurm = await startSlurm(path('slurm'));
    try {
      const submit = (array: string): string =>
        execFileSync(
          'sbatch',
          ['--wait', '--oversubscribe', `--array=${array}`, `--output=${path('log-%a')}`, path('job.sh')],
          {
            env: slurm.environment,
            encoding: 'utf8',
            timeout: 200_000,
          },
        );
      // Elements run one after the other on this node, so that the pipeline must not wait for others: without a plan.
      writeFileSync(
        path('pipeline.yaml'),
        `input: ${path('in.jsonl')}\nsteps:\n  - repairText\noutput: ${path('out')}\n`,
      );
      submit('0-2');
      const { written } = await mergeParts(path('out'), 3, path('merged.jsonl'));
      expect(written.rows).toBe(60);
      rmSync(path('out', 'part-00001-of-00003.jsonl.zst'));
      submit('0-2');
      expect(readFileSync(path('log-0'), 'utf8')).toMatch(/part 0 of 3 is complete/);
      expect((await mergeParts(path('out'), 3, path('merged.jsonl'))).written.rows).toBe(60);
    } finally {
      await slurm.stop();
    }
  },
  600_000,
);
