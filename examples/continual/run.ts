/** `npx tsx examples/continual/run.ts [--write] [arm …]`: a line for each arm and seed, and the table. See README.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { ARMS, type ArmRun, JOINT, overallOf, runArm, SEEDS, table } from './study.js';

// Operations of so small a model are no work for several threads.
setEngine(onnxruntimeEngine({ threads: 1 }));
const named = process.argv.slice(2).filter((word) => word !== '--write');
const arms = named.length > 0 ? [...new Set(['naive', ...named])] : [...Object.keys(ARMS), JOINT];
const unknown = arms.find((arm) => arm !== JOINT && !(arm in ARMS));
if (unknown !== undefined) {
  throw new Error(`there is no arm "${unknown}"; take some of ${[...Object.keys(ARMS), JOINT].join(', ')}`);
}
const results: Record<string, ArmRun[]> = {};
for (const arm of arms) {
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
console.log(`\n${table(results)}`);

function write(): void {
  const lines = Object.entries(results).map(([arm, runs]) => {
    return ` ${JSON.stringify(arm)}: [\n${runs.map((run) => `  ${JSON.stringify(run)}`).join(',\n')}\n ]`;
  });
  const folder = join(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'stream.json'), `{\n${lines.join(',\n')}\n}\n`);
}
