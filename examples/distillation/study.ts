/**
 * The study of README.md: `npx tsx examples/distillation/study.ts [distil | mopd | steps | precision | coverage]`. Prints a table for each part,
 * or some of them, and writes what it found into study.json.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { distillationArms, mopdArms, SETTINGS } from './arms.js';
import { coverageArms, precisionArms, stepByStepArms } from './further-arms.js';

const SEEDS = [1, 2, 3];
/** Student's t of 95 %, two degrees of freedom. */
const QUANTILE = 4.303;
const FILE = join(import.meta.dirname, 'study.json');

const PARTS = {
  distil: ['A larger model into a smaller one', distillationArms, 'SFT, its best step'],
  mopd: ['Two specialists into one student', mopdArms, 'student before'],
  steps: ['Rationales beside labels', stepByStepArms, 'labels only (λ 0)'],
  precision: [
    'A narrow student of a teacher of two languages: its samples, to the teacher',
    precisionArms,
    'forward KL',
  ],
  coverage: ['The same: the teacher’s samples, to the student', coverageArms, 'forward KL'],
} as const;

/** By how much less one arm's loss is than another's, over the seeds. */
function gainOf(losses: readonly Record<string, number>[], arm: string, base: string) {
  const gains = losses.map((one) => one[base]! - one[arm]!);
  const mean = gains.reduce((a, b) => a + b, 0) / gains.length;
  const variance = gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0) / (gains.length - 1);
  const half = QUANTILE * Math.sqrt(variance / gains.length);
  return { gain: mean, interval: [mean - half, mean + half] };
}

/** JSON with lists of numbers on one line, as it is formatted here. */
const written = (value: unknown): string =>
  JSON.stringify(value, null, 2).replace(
    /\[\s+([^[\]{}"]+?)\s+\]/g,
    (_, list: string) => `[${list.replace(/\s+/g, ' ')}]`,
  );

const named = process.argv.slice(2) as (keyof typeof PARTS)[];
const study = JSON.parse(await readFile(FILE, 'utf8').catch(() => '{}')) as Record<string, unknown>;
for (const part of named.length > 0 ? named : (Object.keys(PARTS) as (keyof typeof PARTS)[])) {
  const [title, arms, base] = PARTS[part];
  const losses: Record<string, number>[] = [];
  for (const seed of SEEDS) {
    losses.push(await arms(seed, SETTINGS));
    console.error(`${title}, seed ${seed}: ${JSON.stringify(losses.at(-1))}`);
  }
  const rows = Object.keys(losses[0]!).map((arm) => {
    return { arm, ...gainOf(losses, arm, base), losses: losses.map((one) => one[arm]!) };
  });
  study[part] = { title, base, settings: SETTINGS, seeds: SEEDS, arms: rows };
  await writeFile(FILE, `${written(study)}\n`);
  console.log(`\n${title}: held-out loss by seed; how much less than ${base}, with its 95 % interval`);
  for (const { arm, losses: own, gain, interval } of rows) {
    const shown = own.map((loss) => loss.toFixed(2)).join(', ');
    const apart = arm === base ? '' : `${gain.toFixed(2)} [${interval.map((x) => x.toFixed(2)).join(', ')}]`;
    console.log(`| ${arm} | ${shown} | ${apart} |`);
  }
}
