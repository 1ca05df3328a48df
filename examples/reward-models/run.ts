/**
 * The studies of README.md, three seeds each: `npx tsx examples/reward-models/run.ts [study ...]`, all of them or those that are named. Prints
 * a table for each, and writes what it found into results/.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { intervalOf } from './small.js';
import { STUDIES, type StudyName } from './studies.js';

const SEEDS = [1, 2, 3];
const shown = (value: number): string => value.toFixed(3);

const asked = process.argv.slice(2) as StudyName[];
for (const name of asked.length > 0 ? asked : (Object.keys(STUDIES) as StudyName[])) {
  const { title, measures, base, arms } = STUDIES[name];
  const found: Readonly<Record<string, Readonly<Record<string, number>>>>[] = [];
  for (const seed of SEEDS) {
    found.push(await arms(seed));
    console.error(`${name}, seed ${seed}: ${JSON.stringify(found.at(-1))}`);
  }
  console.log(`\n${title}: by seed; how much more than ${base}, with its 95 % interval`);
  const rows = measures.flatMap((measure) =>
    Object.keys(found[0]!).map((arm) => {
      const values = found.map((one) => one[arm]![measure]!);
      const apart = intervalOf(found.map((one) => one[arm]![measure]! - one[base]![measure]!));
      const { mean, low, high } = apart;
      const gain = arm === base ? '' : `${shown(mean)} [${shown(low)}, ${shown(high)}]`;
      console.log(`| ${measure} | ${arm} | ${values.map(shown).join(', ')} | ${gain} |`);
      return { measure, arm, values, ...(arm !== base && { apart }) };
    }),
  );
  const file = join(import.meta.dirname, 'results', `${name}.json`);
  await writeFile(file, `${JSON.stringify({ title, base, seeds: SEEDS, rows }, null, 2)}\n`);
}
