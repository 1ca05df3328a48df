/**
 * The studies of README.md, of three seeds or five: `npx tsx examples/reward-models/run.ts [study ...]`, all of them or those that are named. Prints
 * a table for each, and writes what it found into results/. A seed that is done stays in runs/ until the studies change, so that a run
 * that was stopped goes on behind it.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { intervalOf } from './small.js';
import { type Arms, STUDIES, type Study, type StudyName } from './studies.js';

// Operations of so small a model are no work for several threads.
setEngine(onnxruntimeEngine({ threads: 1 }));

const shown = (value: number): string => value.toFixed(3);

const here = import.meta.dirname;
const sources = readdirSync(here).filter(
  (file) => file.endsWith('.ts') && file !== 'run.ts' && !file.includes('.test.'),
);
const version = createHash('sha256')
  .update(sources.map((file) => readFileSync(join(here, file), 'utf8')).join('\0'))
  .digest('hex')
  .slice(0, 12);

/** What the arms came to with a seed, as it was found before or as it is now. */
async function cell(name: StudyName, seed: number): Promise<Arms> {
  const file = join(here, 'runs', `${name}-${seed}-${version}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Arms;
  const found = await STUDIES[name].arms(seed);
  mkdirSync(join(here, 'runs'), { recursive: true });
  await writeFile(file, JSON.stringify(found));
  return found;
}

const asked = process.argv.slice(2) as StudyName[];
for (const name of asked.length > 0 ? asked : (Object.keys(STUDIES) as StudyName[])) {
  const { title, measures, base, seeds = [1, 2, 3] }: Study = STUDIES[name];
  const found: Arms[] = [];
  for (const seed of seeds) {
    found.push(await cell(name, seed));
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
      return { measure, arm, values, mean: intervalOf(values), ...(arm !== base && { apart }) };
    }),
  );
  const file = join(here, 'results', `${name}.json`);
  await writeFile(file, `${JSON.stringify({ title, base, seeds, rows }, null, 2)}\n`);
}
