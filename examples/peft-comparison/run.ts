/**
 * `npx tsx examples/peft-comparison/run.ts [ARM …]`: runs the cells that are not in results/cells.json, one after the other, and
 * writes the tables of README.md and results/accuracy.svg. It may be stopped and goes on. See README.md.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { BASE, FULL, METHODS } from './arms.js';
import { bestRate, picture, readOr, type Times, table, tableOfSkip, withTables } from './report.js';
import { type Cell, type Part, RATES, runCell, SEEDS, SIZE, SWEEP_SEED } from './study.js';

const FOLDER = join(import.meta.dirname, 'results');
const FILE = join(FOLDER, 'cells.json');
const RUNS = join(import.meta.dirname, 'runs');

// Operations of so small a model are no work for several threads.
setEngine(onnxruntimeEngine({ threads: 1 }));
mkdirSync(FOLDER, { recursive: true });
const cells: Cell[] = readOr<Cell[]>(FILE, []);
const times = readOr<Times>(join(FOLDER, 'times.json'), {});
const named = process.argv.slice(2);
const wanted = (arm: string) => named.length === 0 || named.includes(arm);

for (const arm of [BASE, FULL, ...METHODS]) if (wanted(arm)) await runArm('before', arm);
for (const part of ['skip_sft', 'skip_grpo'] as const) {
  for (const arm of [BASE, FULL, 'LORA', 'TINYLORA_13'])
    if (wanted(arm) && (arm !== BASE || part === 'skip_sft')) await runArm(part, arm);
}
console.log(`\n${table(cells, times)}\n\n${tableOfSkip(cells)}`);
writeFileSync(join(FOLDER, 'accuracy.svg'), picture(cells));
const README = join(import.meta.dirname, 'README.md');
writeFileSync(README, withTables(readFileSync(README, 'utf8'), cells, times));

async function runArm(part: Part, arm: string): Promise<void> {
  if (arm === BASE) {
    for (const seed of SEEDS) await run({ part, arm, rate: 0, seed });
    return;
  }
  for (const rate of RATES[part]) await run({ part, arm, rate, seed: SWEEP_SEED });
  const rate = bestRate(cells, part, arm);
  if (rate === undefined) return;
  for (const seed of SEEDS) await run({ part, arm, rate, seed });
}

async function run(key: Pick<Cell, 'part' | 'arm' | 'rate' | 'seed'>): Promise<void> {
  const isIt = (cell: Cell) => (['part', 'arm', 'rate', 'seed'] as const).every((name) => cell[name] === key[name]);
  if (cells.some(isIt)) return;
  const start = performance.now();
  const cell = await runCell(key, SIZE, RUNS);
  cells.push(cell);
  const { loss, exact, probability, error } = cell;
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  const result = error ?? `loss ${loss}, right ${exact}, p ${probability}`;
  console.log(`${key.part} ${key.arm} ${key.rate} seed ${key.seed}: ${result} (${seconds} s)`);
  writeFileSync(`${FILE}.tmp`, `[\n${cells.map((one) => ` ${JSON.stringify(one)}`).join(',\n')}\n]\n`);
  renameSync(`${FILE}.tmp`, FILE);
}
