/** The tables and the picture of the study, of its cells. */
import { readFileSync } from 'node:fs';
import { BASE } from './arms.js';
import { type Cell, type Part, SEEDS, SWEEP_SEED } from './study.js';

/** Student's t of 95 %, two degrees of freedom: three seeds. */
const QUANTILE = 4.303;

/** The rate with the smallest validation loss of the sweep. */
export function bestRate(cells: readonly Cell[], part: Part, arm: string): number | undefined {
  const swept = cells.filter((cell) => cell.part === part && cell.arm === arm && cell.seed === SWEEP_SEED);
  const [best] = swept.filter(({ loss }) => loss !== null).sort((a, b) => a.loss! - b.loss!);
  return best?.rate;
}

interface OverSeeds {
  readonly mean: number;
  readonly half: number;
}

export function overSeeds(values: readonly number[]): OverSeeds {
  const mean = values.reduce((a, b) => a + b) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1));
  return { mean, half: (QUANTILE * deviation) / Math.sqrt(values.length) };
}
const show = ({ mean, half }: OverSeeds): string => `${mean.toFixed(2)} ± ${half.toFixed(2)}`;

/** The cells of an arm with its rate, by seed; undefined until all are there. */
function finals(cells: readonly Cell[], part: Part, arm: string): readonly Cell[] | undefined {
  const rate = arm === BASE ? 0 : bestRate(cells, part, arm);
  const found = SEEDS.flatMap((seed) =>
    cells.filter((cell) => cell.part === part && cell.arm === arm && cell.seed === seed && cell.rate === rate),
  );
  return found.length === SEEDS.length && found.every(({ exact }) => exact !== null) ? found : undefined;
}

const armsOf = (cells: readonly Cell[], part: Part): string[] => [
  ...new Set(cells.filter((cell) => cell.part === part).map(({ arm }) => arm)),
];
const knownOf = ({ known }: Cell): number => {
  const shares = Object.values(known!);
  return shares.reduce((a, b) => a + b, 0) / shares.length;
};
const bytes = (count: number): string => (count >= 1024 ? `${(count / 1024).toFixed(0)} KiB` : `${count} B`);

/** Parameters, gradients, what the optimizer keeps and what is frozen beside the base, float32. */
const memoryOf = ({ trained, frozen, moments = 2 * trained }: Cell): number => 4 * (2 * trained + moments + frozen);

/** Of an update, as multiples of LoRA's, by arm (`times.ts`). */
export type Times = Readonly<Record<string, number>>;

/** The comparison, best first. */
export function table(cells: readonly Cell[], times: Times): string {
  const rows = armsOf(cells, 'before').map((arm) => ({ arm, runs: finals(cells, 'before', arm) }));
  const right = (runs: readonly Cell[]) => overSeeds(runs.map(({ exact }) => exact!));
  rows.sort((a, b) => (b.runs ? right(b.runs).mean : -1) - (a.runs ? right(a.runs).mean : -1));
  const lines = rows.map(({ arm, runs }) => {
    if (!runs) {
      const problem = cells.find((cell) => cell.part === 'before' && cell.arm === arm && cell.error)?.error;
      return `| \`${arm}\` | | | | | no result${problem ? `: ${problem}` : ''} | |`;
    }
    const [{ trained, rate }] = runs as [Cell];
    const cost = times[arm] === undefined ? '' : times[arm].toFixed(1);
    const memory = trained > 0 ? bytes(memoryOf(runs[0]!)) : '';
    const cellsOf = [trained || '', memory, cost, rate || '', show(right(runs)), show(overSeeds(runs.map(knownOf)))];
    return `| \`${arm}\` | ${cellsOf.join(' | ')} |`;
  });
  const head = '| arm | trained | state | time | rate | `before`, right | known, right |';
  return [head, '| --- | ---: | ---: | ---: | ---: | --- | --- |', ...lines].join('\n');
}

/** Labels against reinforcement on what is half known. */
export function tableOfSkip(cells: readonly Cell[]): string {
  const lines = (['skip_sft', 'skip_grpo'] as const).flatMap((part) =>
    armsOf(cells, part).flatMap((arm) => {
      const runs = finals(cells, part, arm);
      if (!runs) return [];
      const [{ trained, rate }] = runs as [Cell];
      const of = (value: (cell: Cell) => number) => show(overSeeds(runs.map(value)));
      const by = arm === BASE ? '' : part === 'skip_sft' ? 'labels' : 'reward';
      const measured = [of(({ probability }) => probability!), of(({ exact }) => exact!), of(knownOf)];
      return `| \`${arm}\` | ${by} | ${trained || ''} | ${rate || ''} | ${measured.join(' | ')} |`;
    }),
  );
  const head = '| arm | by | trained | rate | `skip`, probability | `skip`, right | known, right |';
  return [head, '| --- | --- | ---: | ---: | --- | --- | --- |', ...lines].join('\n');
}

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [760, 460, 56, 52, 16, 16];

/** Accuracy by numbers that are trained, as SVG, with the intervals. */
export function picture(cells: readonly Cell[]): string {
  const points = armsOf(cells, 'before').flatMap((arm) => {
    const runs = arm === BASE ? undefined : finals(cells, 'before', arm);
    return runs ? [{ arm, trained: runs[0]!.trained, ...overSeeds(runs.map(({ exact }) => exact!)) }] : [];
  });
  const most = Math.ceil(Math.log10(Math.max(10, ...points.map(({ trained }) => trained))));
  const x = (trained: number) => LEFT + ((WIDTH - LEFT - RIGHT) * Math.log10(trained)) / most;
  const y = (share: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(1, Math.max(0, share)));
  const text = (at: readonly number[], words: string, more = '') =>
    `<text x="${at[0]!.toFixed(1)}" y="${at[1]!.toFixed(1)}" ${more}>${words}</text>`;
  const line = (x1: number, y1: number, x2: number, y2: number, color: string) =>
    `<path d="M${x1.toFixed(1)} ${y1.toFixed(1)}L${x2.toFixed(1)} ${y2.toFixed(1)}" stroke="${color}"/>`;
  const grid = [0, 0.25, 0.5, 0.75, 1].map(
    (share) =>
      line(LEFT, y(share), WIDTH - RIGHT, y(share), '#ddd') +
      text([LEFT - 8, y(share) + 4], String(share), 'text-anchor="end"'),
  );
  const ticks = Array.from({ length: most + 1 }, (_, i) =>
    text([x(10 ** i), HEIGHT - BOTTOM + 18], i < 4 ? String(10 ** i) : `10^${i}`, 'text-anchor="middle"'),
  );
  // Names that would cover another are left to the circle's title, and to the table.
  const taken: (readonly [from: number, to: number, y: number])[] = [];
  const name = (arm: string, at: readonly [number, number]) => {
    const width = 5.5 * arm.length;
    const isLeft = at[0] + 5 + width > WIDTH;
    const from = isLeft ? at[0] - 5 - width : at[0] + 5;
    const isFree = taken.every(([a, b, other]) => Math.abs(other - at[1]) > 9 || from > b || from + width < a);
    if (!isFree) return '';
    taken.push([from, from + width, at[1]]);
    const anchor = isLeft ? ' text-anchor="end"' : '';
    return text([at[0] + (isLeft ? -5 : 5), at[1] - 4], arm.toLowerCase(), `font-size="9" fill="#333"${anchor}`);
  };
  const marks = points.map(({ arm, trained, mean, half }) =>
    [
      line(x(trained), y(mean - half), x(trained), y(mean + half), '#9bb8d9'),
      `<circle cx="${x(trained).toFixed(1)}" cy="${y(mean).toFixed(1)}" r="3.5" fill="#1f5fa8"><title>${arm}</title></circle>`,
      name(arm, [x(trained), y(mean)]),
    ].join(''),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11">`,
    '<title>Share of held-out rows that are right, by numbers that are trained; bars are 95 % intervals over three seeds</title>',
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    ...grid,
    ...ticks,
    ...marks,
    text([(LEFT + WIDTH) / 2, HEIGHT - 12], 'numbers that are trained', 'text-anchor="middle"'),
    '</svg>',
    '',
  ].join('\n');
}

const [START, END] = ['<!-- tables: start (written by run.ts) -->', '<!-- tables: end -->'];

/** README.md with these cells' tables. */
export function withTables(readme: string, cells: readonly Cell[], times: Times): string {
  const [before, rest = ''] = readme.split(START) as [string, string?];
  const [old, after] = rest.split(END) as [string, string?];
  const between = old.slice(old.indexOf('![accuracy'), old.indexOf('| arm | by |'));
  return `${before}${START}\n${table(cells, times)}\n\n${between}${tableOfSkip(cells)}\n${END}${after}`;
}

/** What a file of results holds, or `nothing` where there is no file. */
export function readOr<T>(file: string, nothing: T): T {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return nothing;
    throw error;
  }
}
