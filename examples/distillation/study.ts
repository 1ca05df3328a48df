/**
 * The study of README.md: `npx tsx examples/distillation/study.ts [seed …]`. Prints a table for each part and, without seeds, writes
 * study.json.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { distillationArms, mopdArms, SETTINGS } from './arms.js';

/** Student's t of 95 %, two degrees of freedom. */
const QUANTILE = 4.303;

const given = process.argv.slice(2).map(Number);
const seeds = given.length > 0 ? given : [1, 2, 3];
const study: Record<string, unknown> = { settings: SETTINGS, seeds };

for (const [name, arms, base] of [
  ['A larger model into a smaller one', distillationArms, 'SFT, its best step'],
  ['Two specialists into one student', mopdArms, 'student before'],
] as const) {
  const losses: Record<string, number>[] = [];
  for (const seed of seeds) {
    losses.push(await arms(seed, SETTINGS));
    console.error(`${name}, seed ${seed}: ${JSON.stringify(losses.at(-1))}`);
  }
  const rows = Object.keys(losses[0]!).map((arm) => {
    const own = losses.map((one) => one[arm]!);
    const gains = losses.map((one) => one[base]! - one[arm]!);
    const mean = gains.reduce((a, b) => a + b, 0) / gains.length;
    const variance = gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0) / (gains.length - 1);
    const half = QUANTILE * Math.sqrt(variance / gains.length);
    return { arm, losses: own, gain: mean, interval: [mean - half, mean + half] };
  });
  study[name] = rows.map(({ losses: own, ...row }) => ({ ...row, losses: own }));
  console.log(`\n${name}: held-out loss by seed; how much less than ${base}, with its 95 % interval`);
  for (const { arm, losses: own, gain, interval } of rows) {
    const shown = own.map((loss) => loss.toFixed(3)).join(', ');
    const apart = arm === base ? '' : `${gain.toFixed(3)} [${interval.map((x) => x.toFixed(3)).join(', ')}]`;
    console.log(`| ${arm} | ${shown} | ${apart} |`);
  }
}
if (given.length === 0) {
  await writeFile(join(import.meta.dirname, 'study.json'), `${JSON.stringify(study, null, 2)}\n`);
}
