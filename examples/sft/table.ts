/** Means over seeds with their intervals, as tables. */
import type { Arms } from './studies.js';

export const SEEDS = [1, 2, 3];
/** Student's t of 95 %, two degrees of freedom: three seeds. */
const QUANTILE = 4.303;

/** A mean and its 95 % interval, as `0.42 [0.31, 0.53]`. */
export function overSeeds(values: readonly number[]): string {
  if (values.length !== SEEDS.length) throw new Error(`${values.length} values, and ${SEEDS.length} seeds`);
  const mean = values.reduce((a, b) => a + b) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1));
  const half = (QUANTILE * deviation) / Math.sqrt(values.length);
  return `${mean.toFixed(2)} [${(mean - half).toFixed(2)}, ${(mean + half).toFixed(2)}]`;
}

/** A line an arm, with every number and how far it is from the control's with the same seed. */
export function table(runs: readonly Arms[], control: string): string {
  const arms = Object.keys(runs[0]!);
  const names = Object.keys(runs[0]![control]!);
  const lines = arms.map((arm) => {
    const cells = names.flatMap((name) => {
      const of = runs.map((run) => run[arm]![name]!);
      const apart = runs.map((run, i) => of[i]! - run[control]![name]!);
      return [overSeeds(of), arm === control ? '' : overSeeds(apart)];
    });
    return `| ${arm} | ${cells.join(' | ')} |`;
  });
  const head = names.flatMap((name) => [name, 'less the control']);
  return [`| arm | ${head.join(' | ')} |`, `| --- ${'| --- '.repeat(head.length)}|`, ...lines].join('\n');
}
