/**
 * Reading, writing, filtering and deduplicating, beside datatrove, and map and filter beside `datasets`: the same files, each side in a process of its own, in turns, one
 * core each, processor time. Rows that come out must be as many.
 *
 * usage: npx tsx benchmarks/data-curation.ts --python /path/to/python3 [--rows 4000] [--repetitions 3] [--only NAME]
 * (its packages: goldens/data-filters/requirements.txt, and pyarrow, datasets, zstandard and orjson)
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  createRandom,
  exactDeduplicate,
  filter,
  gopherQuality,
  gopherRepetition,
  map,
  minhashDeduplicate,
  pipeline,
  type Row,
  readRows,
  writeRows,
} from '@posttrain/data';
import { renderMarkdown } from './render.js';

const { values: flags } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    rows: { type: 'string', default: '4000' },
    repetitions: { type: 'string', default: '3' },
    only: { type: 'string' },
    own: { type: 'string' },
    folder: { type: 'string' },
  },
});

const COMMON =
  'the of and to in that it is was for on are as with his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so'.split(
    ' ',
  );

/** Texts of common and of made-up words, of which some are there twice, and some nearly. */
function texts(count: number): Row[] {
  const random = createRandom(1);
  const made = Array.from({ length: 4000 }, () =>
    Array.from({ length: random.integer(3, 9) }, () => 'abcdefghijklmnoprstuvw'[random.integer(0, 21)]).join(''),
  );
  const word = (): string =>
    random.float() < 0.5 ? COMMON[random.integer(0, COMMON.length - 1)]! : made[random.integer(0, made.length - 1)]!;
  const rows: Row[] = [];
  for (let i = 0; i < count; i++) {
    const before = rows[random.integer(0, Math.max(0, i - 1))];
    const kind = random.float();
    let text = Array.from(
      { length: random.integer(8, 30) },
      () => `${Array.from({ length: random.integer(6, 20) }, word).join(' ')}.`,
    ).join('\n');
    if (before !== undefined && kind < 0.1) text = String(before.text);
    else if (before !== undefined && kind < 0.2) text = `${String(before.text)}\n${word()} ${word()}.`;
    rows.push({ id: `row-${i}`, text, score: random.float() });
  }
  return rows;
}

async function count(rows: AsyncIterable<object>): Promise<number> {
  let found = 0;
  for await (const _ of rows) found++;
  return found;
}

async function all(path: string): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of readRows(path)) rows.push(row);
  return rows;
}

type Task = (folder: string) => Promise<() => Promise<number>>;
const TASKS: Readonly<Record<string, Task>> = {
  'read jsonl.zst': async (folder) => () => count(readRows(join(folder, 'rows.jsonl.zst'))),
  'read parquet': async (folder) => () => count(readRows(join(folder, 'rows.parquet'))),
  'write jsonl.zst': async (folder) => {
    const rows = await all(join(folder, 'rows.jsonl'));
    return async () => (await writeRows(join(folder, 'own.jsonl.zst'), rows)).rows;
  },
  'write parquet': async (folder) => {
    const rows = await all(join(folder, 'rows.jsonl'));
    return async () => (await writeRows(join(folder, 'own.parquet'), rows)).rows;
  },
  gopher: async (folder) => {
    const rows = await all(join(folder, 'rows.jsonl'));
    await count(pipeline<Row>(rows.slice(0, 5), [gopherQuality()]).rows);
    return () => count(pipeline<Row>(rows, [gopherRepetition(), gopherQuality()]).rows);
  },
  minhash: async (folder) => {
    const rows = await all(join(folder, 'rows.jsonl'));
    return () => count(pipeline<Row>(rows, [minhashDeduplicate()]).rows);
  },
  exact: async (folder) => {
    const rows = await all(join(folder, 'rows.jsonl'));
    return () => count(pipeline<Row>(rows, [exactDeduplicate()]).rows);
  },
  // Read from Parquet and written to Parquet, as datasets reads and writes its Arrow files.
  'datasets map': async (folder) => async () => {
    const { rows } = pipeline<Row>(readRows(join(folder, 'rows.parquet')), [
      map('length', (row: Row) => ({ ...row, length: String(row.text).length })),
    ]);
    return (await writeRows(join(folder, 'mapped.arrow'), rows)).rows;
  },
  'datasets filter': async (folder) => async () =>
    count(
      pipeline<Row>(readRows(join(folder, 'rows.parquet')), [
        filter('long', (row: Row) => String(row.text).length > 1500),
      ]).rows,
    ),
};

interface Measured {
  readonly wall: number;
  readonly processor: number;
  readonly rows: number;
}

if (flags.own !== undefined) {
  const run = await TASKS[flags.own]!(flags.folder!);
  const [usage, start] = [process.cpuUsage(), performance.now()];
  const rows = await run();
  const { user, system } = process.cpuUsage(usage);
  console.log(JSON.stringify({ wall: (performance.now() - start) / 1000, processor: (user + system) / 1e6, rows }));
} else {
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-curation-'));
  try {
    const rows = texts(Number(flags.rows));
    for (const ending of ['jsonl', 'jsonl.zst', 'parquet']) await writeRows(join(folder, `rows.${ending}`), rows);
    const script = fileURLToPath(import.meta.url);
    const started = (command: string, args: readonly string[]): Measured => {
      const { stdout, stderr, status } = spawnSync('taskset', ['-c', '0', command, ...args], {
        encoding: 'utf8',
        env: { ...process.env, OMP_NUM_THREADS: '1' },
      });
      if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.slice(-2000)}`);
      return JSON.parse(stdout.trim().split('\n').at(-1)!) as Measured;
    };
    const table = [];
    for (const task of Object.keys(TASKS).filter((name) => flags.only === undefined || name.includes(flags.only))) {
      const pairs = Array.from({ length: Number(flags.repetitions) }, () => [
        started(process.execPath, ['--import', 'tsx', script, '--own', task, '--folder', folder]),
        started(flags.python, [fileURLToPath(new URL('data-curation-peer.py', import.meta.url)), folder, task]),
      ]) as [Measured, Measured][];
      const ratios = pairs.map(([own, peer]) => peer.processor / own.processor).sort((a, b) => a - b);
      const [own, peer] = [0, 1].map((side) => Math.min(...pairs.map((pair) => pair[side]!.processor)));
      table.push({
        task,
        'peer ÷ ours, processor (lowest to highest)': `${ratios[ratios.length >> 1]!.toFixed(1)} (${ratios[0]!.toFixed(1)} to ${ratios.at(-1)!.toFixed(1)})`,
        'ours, s': own!.toFixed(2),
        'peer, s': peer!.toFixed(2),
        'rows out, ours / peer': `${pairs[0]![0].rows} / ${pairs[0]![1].rows}`,
      });
      console.log(JSON.stringify(table.at(-1)));
    }
    console.log(
      `\n${flags.rows} rows, ${cpus()[0]!.model}, load ${loadavg()[0]!.toFixed(1)}, Node.js ${process.version}\n`,
    );
    console.log(renderMarkdown([Object.keys(table[0]!), ...table.map((row) => Object.values(row))]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
