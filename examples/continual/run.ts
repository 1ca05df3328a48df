/** `npx tsx examples/continual/run.ts [--write] [arm …]`: a line for each arm and seed that is run, and the table. See README.md. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { ARMS, type ArmRun, FURTHER_ARMS, JOINT, overallOf, runArm, SEEDS, table } from './study.js';

// Operations of so small a model are no work for several threads.
setEngine(onnxruntimeEngine({ threads: 1 }));
const named = process.argv.slice(2).filter((word) => word !== '--write');
const arms = named.length > 0 ? [...new Set(['naive', ...named])] : [...Object.keys(ARMS), JOINT];
const known = [...Object.keys(ARMS), ...Object.keys(FURTHER_ARMS), JOINT];
const unknown = arms.find((arm) => !known.includes(arm));
if (unknown !== undefined) throw new Error(`there is no arm "${unknown}"; take some of ${known.join(', ')}`);
const file = join(import.meta.dirname, 'results', 'stream.json');
// What was found before stays, in the order of the arms; named arms are run anew.
const before = named.length > 0 && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
const results: Record<string, ArmRun[]> = {};
for (const arm of known) if (arm in before && !named.includes(arm)) results[arm] = before[arm];
for (const arm of arms) {
  if (results[arm]) continue;
  const runs: ArmRun[] = [];
  for (const seed of SEEDS) {
    const run = await runArm(arm, seed);
    const rows = run.matrix.map((row) => row.map((x) => x.toFixed(2)).join(' ')).join(' | ');
    console.log(`${arm.padEnd(10)} seed ${seed}: OP ${overallOf(run).toFixed(2)}, R ${rows}`);
    runs.push(run);
  }
  results[arm] = runs;
  if (process.argv.includes('--write')) write();
}
const ordered = known.flatMap((arm) => (results[arm] ? [[arm, results[arm]] as const] : []));
console.log(`\n${table(Object.fromEntries(ordered))}`);

function write(): void {
  const done = known.filter((arm) => results[arm]);
  const lines = done.map((arm) => {
    const runs = results[arm]!;
    return ` ${JSON.stringify(arm)}: [\n${runs.map((run) => `  ${JSON.stringify(run)}`).join(',\n')}\n ]`;
  });
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `{\n${lines.join(',\n')}\n}\n`);
}
