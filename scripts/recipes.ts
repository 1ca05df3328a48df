// The index of recipes: the survey's named systems, where each is run, and a picture of what came out, drawn from the table of its page.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { anchorOf } from '../site/anchors.js';

/** A named system of the survey's abstract and conclusions, and the recipe that runs it. */
export interface Recipe {
  /** As the survey names it. */
  readonly name: string;
  /** Its page, relative to `examples`. */
  readonly page: string;
  /** The heading over the table with its results; the first table of the page where it is left out. */
  readonly heading?: string;
  /** The column that is drawn; the first with intervals where it is left out. */
  readonly column?: string;
  /** The rows that are drawn, by their first cell; the first eight where it is left out. */
  readonly rows?: readonly string[];
  readonly command: string;
}

const RUN = 'npx tsx examples';
const sft = (study: string) => ({ page: 'sft/README.md', heading: study, command: `${RUN}/sft/run.ts ${study}` });
const peft = (rows: readonly string[]) => ({
  ...{ page: 'peft-comparison/README.md', column: '`before`, right', rows: [...rows, '`full`', '`base`'] },
  command: `${RUN}/peft-comparison/run.ts ${rows.join(' ').replaceAll('`', '')}`,
});
const search = (...strategies: string[]) => ({
  ...{
    page: 'test-time/README.md',
    column: 'accuracy',
    rows: [...strategies, 'bestOfN', 'majorityVote'].map((name) => `\`${name}\``),
  },
  command: `${RUN}/test-time/run.ts`,
});
const curation = (study: string) => ({
  ...{ page: 'data-curation/README.md', heading: study, command: `${RUN}/data-curation/run.ts ${study}` },
});

/** In the order of the survey's abstract and conclusions. */
export const RECIPES: readonly Recipe[] = [
  { name: 'Chain-of-thought fine-tuning', ...sft('chain-of-thought') },
  { name: 'Domain fine-tuning', ...sft('domain'), column: 'general' },
  {
    name: 'Distillation',
    page: 'distillation/README.md',
    heading: 'A larger model into a smaller one',
    command: `${RUN}/distillation/study.ts`,
  },
  {
    name: 'Preference fine-tuning',
    page: 'preferences/README.md',
    heading: 'Beside a control arm',
    command: `${RUN}/preferences/run.ts`,
  },
  { name: 'LoRA', ...peft(['`LORA`', '`RSLORA`', '`DORA`', '`QLORA`']) },
  { name: 'Prefix tuning', ...peft(['`PREFIX_TUNING`', '`PROMPT_TUNING`', '`P_TUNING`']) },
  { name: 'Adapters', ...peft(['`HOULSBY`', '`PFEIFFER`', '`PARALLEL`', '`IA3`']) },
  {
    name: 'Reinforcement learning',
    page: 'policy-objectives/README.md',
    column: 'learnt',
    command: `${RUN}/policy-objectives/study.ts`,
  },
  { name: 'Beam search', ...search('stepBeamSearch', 'diverseVerifierTreeSearch') },
  { name: 'Best of N', ...search('regularizedBestOfN', 'knockoutTournament') },
  { name: 'Compute-optimal scaling', page: 'test-time/sizes/README.md', command: `${RUN}/test-time/sizes/run.ts` },
  { name: 'Self-consistency', ...search('complexityBased', 'deepConfOnline') },
  {
    name: 'Chain of thought, tree of thoughts',
    page: 'test-time/formats/README.md',
    command: `${RUN}/test-time/formats/run.ts`,
  },
  {
    name: 'Catastrophic forgetting',
    page: 'continual/README.md',
    heading: 'Forgetting',
    column: 'forgetting',
    command: `${RUN}/continual/run.ts`,
  },
  {
    name: 'Continual learning',
    page: 'continual/README.md',
    heading: 'Merging after every task',
    column: 'OP',
    command: `${RUN}/continual/adapters.ts`,
  },
  { name: 'Continual pretraining', ...sft('order'), column: 'forgetting' },
  {
    name: 'Reward hacking',
    page: 'test-time/README.md',
    heading: 'Reward hacking of best-of-N',
    column: 'heavy 256',
    command: `${RUN}/test-time/run-hacking.ts`,
  },
  { name: 'Inference-time trade-offs', ...search('liteSearch', 'confidenceSampling', 'mcts', 'mur', 'budgetForcing') },
  { name: 'Active learning', ...curation('active'), column: 'right at 60' },
  { name: 'Weak-data boosting', ...curation('boosting'), column: 'right, last round' },
  { name: 'Model-based reinforcement learning in context', page: 'dicl/README.md', command: `${RUN}/dicl/study.ts` },
  {
    name: 'SuperContext',
    page: 'test-time/supercontext/README.md',
    column: 'foreign',
    command: `${RUN}/test-time/supercontext/run.ts`,
  },
  { name: 'Agents', page: 'agentic/README.md', column: 'right at last', command: `${RUN}/agentic/study.ts` },
];

/** A row that is drawn: its name, the value and where its interval ends. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** The first number of a cell with its interval: `0.47 [0.13, 0.81]`, `54.2 ± 8.2 %`; undefined where it has none. */
export function readInterval(cell: string): Omit<Bar, 'name'> | undefined {
  const number = String.raw`(-?\d+(?:\.\d+)?)`;
  const ends = new RegExp(String.raw`${number} \[${number}, ${number}\]`).exec(cell);
  if (ends) return { value: Number(ends[1]), low: Number(ends[2]), high: Number(ends[3]) };
  const around = new RegExp(`${number} ± ${number}`).exec(cell);
  if (!around) return undefined;
  const [value, half] = [Number(around[1]), Number(around[2])];
  return { value, low: value - half, high: value + half };
}

const cellsOf = (line: string): string[] =>
  line
    .slice(1, line.lastIndexOf('|'))
    .split('|')
    .map((cell) => cell.trim());

/** What stands under a heading and those below it, so that no other study's table is taken; nothing where it is not there. */
function sectionOf(text: string, heading: string | undefined): string {
  if (heading === undefined) return text;
  const lines = text.split(/(?<=\n)/);
  const levelOf = (line: string) => /^(#+) /.exec(line)?.[1]?.length ?? Number.POSITIVE_INFINITY;
  const start = lines.findIndex((line) => line.trim().replace(/^#+ /, '') === heading && levelOf(line) < 7);
  if (start < 0) return '';
  const end = lines.findIndex((line, i) => i > start && levelOf(line) <= levelOf(lines[start]!));
  return lines.slice(start, end < 0 ? lines.length : end).join('');
}

/** What a recipe's table says: the column that is drawn, and a bar for each of its rows. */
export function readResults(text: string, recipe: Recipe): { readonly column: string; readonly bars: readonly Bar[] } {
  const tables = [...sectionOf(text, recipe.heading).matchAll(/(?:^\|.*\|\r?\n)+/gm)].map(([table]) =>
    table.trim().split(/\r?\n/).map(cellsOf),
  );
  for (const [head, , ...rows] of tables) {
    const wanted = rows.filter(([name]) => recipe.rows === undefined || recipe.rows.includes(name!));
    const hasInterval = (index: number) => rows.some((row) => readInterval(row[index] ?? '') !== undefined);
    const index = head!.findIndex((name, i) => (recipe.column === undefined ? hasInterval(i) : name === recipe.column));
    if (index < 0 || wanted.length === 0) continue;
    const bars = wanted.flatMap((row) => {
      const interval = readInterval(row[index] ?? '');
      return interval ? [{ name: plain(row[0]!), ...interval }] : [];
    });
    if (bars.length > 0) return { column: plain(head![index]!), bars: bars.slice(0, 8) };
  }
  throw new Error(`${recipe.name}: examples/${recipe.page} has no table with intervals for it`);
}

const plain = (cell: string): string =>
  cell
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/[`*()]/g, '')
    .trim();

const [WIDTH, ROW, TOP, LABELS] = [320, 18, 26, 130];
const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** A picture of bars: a dot and its interval each. It has colours of its own, so that it can be read on dark and light. */
export function drawThumbnail(title: string, column: string, bars: readonly Bar[]): string {
  const [low, high] = [Math.min(...bars.map((bar) => bar.low)), Math.max(...bars.map((bar) => bar.high))];
  const span = high - low || 1;
  const x = (value: number) => (LABELS + ((value - low) / span) * (WIDTH - LABELS - 12)).toFixed(1);
  const rows = bars.map(({ name, value, low: from, high: to }, i) => {
    const y = TOP + i * ROW + ROW / 2;
    const label = name.length > 21 ? `${name.slice(0, 20)}…` : name;
    return (
      `<text x="${LABELS - 6}" y="${y + 4}" text-anchor="end">${escaped(label)}</text>` +
      `<path d="M${x(from)} ${y}H${x(to)}" stroke="#7aa2d6" stroke-width="3"/><circle cx="${x(value)}" cy="${y}" r="4" fill="#1f5fae"/>` +
      `<title>${escaped(name)}: ${value} [${round(from)}, ${round(to)}]</title>`
    );
  });
  const height = TOP + bars.length * ROW + 20;
  const ends = [low, high].map(
    (value, i) =>
      `<text x="${x(value)}" y="${height - 6}" text-anchor="${i === 0 ? 'start' : 'end'}" fill="#666">${round(value)}</text>`,
  );
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(title)}: ${escaped(column)}" font-family="sans-serif" font-size="11" fill="#333">\n` +
    `<rect width="${WIDTH}" height="${height}" rx="4" fill="#f6f7f9"/><text x="8" y="16" font-weight="bold">${escaped(column)}</text>\n` +
    `${rows.map((row) => `<g>${row}</g>`).join('\n')}\n${ends.join('')}\n</svg>\n`
  );
}

const round = (value: number): number => Number(value.toPrecision(4));

/** The file of a recipe's picture, relative to `examples`. */
export const thumbnailOf = ({ name }: Recipe): string =>
  `thumbnails/${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.svg`;

/** All that `render-recipes.ts` writes: `examples/README.md` and the pictures, by path relative to `root`. */
export function renderRecipes(root: string, recipes: readonly Recipe[] = RECIPES): Map<string, string> {
  const files = new Map<string, string>();
  const rows = recipes.map((recipe) => {
    const page = join('examples', recipe.page);
    const { column, bars } = readResults(readFileSync(join(root, page), 'utf8'), recipe);
    files.set(join('examples', thumbnailOf(recipe)), drawThumbnail(recipe.name, column, bars));
    const anchor = recipe.heading === undefined ? '' : `#${anchorOf(recipe.heading)}`;
    return `| [${recipe.name}](${recipe.page}${anchor}) | \`${recipe.command}\` | ![${recipe.name}: ${column}](${thumbnailOf(recipe)}) |`;
  });
  const text = [
    '# Recipes',
    '<!-- Rendered by scripts/render-recipes.ts from the tables of the recipes’ pages; change scripts/recipes.ts. -->',
    'The named systems of the survey (arXiv 2502.21321), each run by one command on two cores. A dot is the mean over three seeds (or the accuracy over\nproblems), the line its interval: what the page says under the link, where the control and the numbers are. After `npm ci`, from the root:',
    ['| system | command | what came out |', '| --- | --- | --- |', ...rows].join('\n'),
    'Beside these: [loops](loops/README.md) (the loops of training written out), [the main job](main-job/README.md) (`npm start`),\n[the model they start from](pretrain-tiny/README.md), [pipelines](pipelines/README.md), [reward models](reward-models/README.md),\n[background of reinforcement learning](background-rl/README.md), [a fleet of servers](fleet/README.md), [a page in the browser](browser/README.md).',
  ];
  files.set(join('examples', 'README.md'), `${text.join('\n\n')}\n`);
  return files;
}
