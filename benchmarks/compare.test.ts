import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { largestDifference, median, ratioOf } from './compare.js';
import { readOutput, writeOutput } from './output-file.js';
import { replaceMeasured } from './render.js';

const taking = (seconds: number) => ({ seconds, processorSeconds: 2 * seconds, numbers: [], peakBytes: 0 });

it('gives ratios above 1 when the peer takes longer, pair by pair', () => {
  const ratio = ratioOf({ own: [1, 2, 1].map(taking), peer: [3, 2, 4].map(taking) }, 'seconds');
  expect(ratio).toEqual({ median: 3, lowest: 1, highest: 4, ofMinima: 2 });
});

it('takes the middle of an even number of values as their mean', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

it('never calls numbers equal that cannot be compared', () => {
  expect(largestDifference([1, 200], [1, 202])).toBeCloseTo(2 / 202);
  for (const [a, b] of [
    [[1], [1, 2]],
    [[], []],
    [[Number.NaN], [1]],
  ] as const) {
    expect(largestDifference(a, b)).toBeNaN();
  }
});

it('replaces the measured block only', () => {
  const document = (block: string) =>
    `before\n<!-- measured: start (written by run.ts) -->\n${block}\n<!-- measured: end -->\nafter\n`;
  expect(replaceMeasured(document('old'), 'new')).toBe(document('new'));
  expect(() => replaceMeasured('no block', 'new')).toThrow('measured: start');
});

it('writes into a file and a folder that are not there yet, and refuses others before anything is measured', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'output-'));
  try {
    const file = join(folder, 'new', 'folder', 'results.md');
    for (const block of ['first', 'second']) {
      await writeOutput(file, replaceMeasured(readOutput(file), block));
      expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^<!-- .*-->\\n${block}\\n<!-- .*-->\\n$`));
    }
    expect(() => readOutput(folder)).toThrow('is a folder; name a file');
    expect(() => readOutput(join(file, 'below.md'))).toThrow(/EEXIST|ENOTDIR/);
    writeFileSync(file, 'by hand');
    const run = join(import.meta.dirname, 'run.ts');
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', run, '--output', file], {
      encoding: 'utf8',
      cwd: join(import.meta.dirname, '..'),
    });
    expect(stderr).toContain('the document has no "<!-- measured: start');
    expect(stderr).not.toContain('matmul');
    expect(status).toBe(1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
