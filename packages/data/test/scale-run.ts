/**
 * A run over a file of so many rows, of which it prints the rows that are left and the most memory that the process ever had.
 *
 * usage: scale-run.ts FOLDER ROWS STEP[,STEP]
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import {
  type AnyStep,
  exactDeduplicate,
  exactSubstringDeduplicate,
  filter,
  minhashDeduplicate,
  pipeline,
  type Row,
  readRows,
  writeRows,
} from '../src/index.js';

const [folder, given, names] = process.argv.slice(2) as [string, string, string];
const rows = Number(given);
const memoryBytes = 64 * 2 ** 20;
const STEPS: Readonly<Record<string, () => AnyStep>> = {
  filter: () => filter('long enough', (row: Row) => String(row.text).length > 46, { version: '1' }),
  exact: () => exactDeduplicate({ memoryBytes }),
  minhash: () => minhashDeduplicate({ bands: 4, rows: 4, precision: 32, ngrams: 3, memoryBytes }),
  substrings: () => exactSubstringDeduplicate({ length: 50, memoryBytes }),
};

/** Of letters only: numbers are all the same to MinHash. */
const wordOf = (state: number): string =>
  String.fromCharCode(97 + ((state >>> 8) & 15), 97 + ((state >>> 12) & 15), 97 + ((state >>> 16) & 15));

/** Twelve words of 4096; every tenth text is that of a row before, and every tenth of those has one word more. */
function textOf(row: number): string {
  const original = row % 10 === 9 ? Math.floor(row / 2) : row;
  let [state, text] = [(original * 2654435761 + 12345) >>> 0, ''];
  for (let i = 0; i < 12; i++) {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + i + original) >>> 0;
    text += (i === 0 ? '' : ' ') + wordOf(state);
  }
  return row % 100 === 99 ? `${text} more` : text;
}

const source = join(folder, 'rows.jsonl');
const file = createWriteStream(source);
for (let at = 0; at < rows; at += 1000) {
  let lines = '';
  for (let i = at; i < Math.min(rows, at + 1000); i++) lines += `{"text":"${textOf(i)}"}\n`;
  if (!file.write(lines)) await once(file, 'drain');
}
file.end();
await finished(file);
const run = pipeline<Row>(
  () => readRows(source),
  names.split(',').map((name) => STEPS[name]!()),
  { workFolder: join(folder, 'work'), sourceVersion: given },
);
const started = process.cpuUsage();
const { rows: left } = await writeRows(join(folder, 'out.jsonl'), run.rows);
const { user, system } = process.cpuUsage(started);
const peak = Math.round(process.resourceUsage().maxRSS / 1024);
console.log(JSON.stringify({ names, rows, left, peakMiB: peak, processorSeconds: Math.round((user + system) / 1e6) }));
