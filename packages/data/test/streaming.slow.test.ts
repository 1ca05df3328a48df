import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { expect, test } from 'vitest';
import { streamRows } from '../src/index.js';
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
