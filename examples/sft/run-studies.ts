/** A command over studies: those that are named, or all, with three seeds, a table each. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { Arms } from './studies.js';
import { SEEDS, table } from './table.js';

/** Studies by name: what one seed gives, and the arm that the others are compared with. */
export type Studies = Readonly<
  Record<
    string,
    { readonly run: (seed: number, scale: (steps: number) => number) => Promise<Arms>; readonly control: string }
  >
>;

/** `[--write] [study …]` of the command line; with `--write` into `results` of the folder. */
export async function runStudies(studies: Studies, folderOfExample: string): Promise<void> {
  // Operations of so small a model are no work for several threads.
  setEngine(onnxruntimeEngine({ threads: 1 }));
  const all = Object.keys(studies);
  const named = process.argv.slice(2).filter((word) => word !== '--write');
  const unknown = named.find((name) => !all.includes(name));
  if (unknown !== undefined) throw new Error(`there is no study "${unknown}"; take some of ${all.join(', ')}`);
  const rounded = (arms: Arms): Arms =>
    JSON.parse(JSON.stringify(arms, (_, x) => (typeof x === 'number' ? Math.round(x * 1e4) / 1e4 : x)));
  const folder = join(folderOfExample, 'results');
  mkdirSync(folder, { recursive: true });
  for (const name of named.length > 0 ? named : all) {
    const { run, control } = studies[name]!;
    const runs: Arms[] = [];
    for (const seed of SEEDS) {
      const started = performance.now();
      runs.push(rounded(await run(seed, (steps) => steps)));
      console.error(
        `${name}, seed ${seed}, ${Math.round((performance.now() - started) / 1000)} s: ${JSON.stringify(runs.at(-1))}`,
      );
    }
    console.log(`\n${name}\n\n${table(runs, control)}`);
    if (process.argv.includes('--write')) {
      writeFileSync(
        join(folder, `${name}.json`),
        `[\n${runs.map((one) => `  ${JSON.stringify(one)}`).join(',\n')}\n]\n`,
      );
    }
  }
}
