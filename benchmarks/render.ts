import type { Work } from './cases.js';
import { type Comparison, type MemoryUse, median, ratioOf } from './compare.js';

export interface MeasuredCase extends Comparison {
  readonly memory: { readonly own: MemoryUse; readonly peer: MemoryUse };
}

export interface ResultRow {
  readonly task: string;
  readonly model: string;
  readonly name: string;
  readonly peer: string;
  readonly work: Work;
  /** Or why there is none. */
  readonly comparison: MeasuredCase | { readonly failure: string };
}

const HEADINGS = [
  ...['what', 'model', 'case', 'peer', 'ratio, wall [spread]', 'of minima', 'ratio, processor [spread]', 'of minima'],
  ...['ours, s', 'peer, s', 'ours, rate', 'peer, rate', 'of matmul peak', 'first call, s', 'peak memory, GiB'],
  ...['above start, GiB', 'difference', 'load'],
];

/** Three significant digits, without an exponent. */
const short = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(value >= 1 ? 2 : 3);

const rateOf = (measurements: Comparison['own'], { gigaflops = Number.NaN }: Work, of: (s: number[]) => number) =>
  gigaflops / of(measurements.map(({ seconds }) => seconds));

/** The fastest product of either side, GFLOP/s: what the machine can do. Undefined when none was measured. */
export function matmulPeak(rows: readonly ResultRow[]): number | undefined {
  const rates = rows.flatMap(({ task, work, comparison }) =>
    task !== 'matmul' || 'failure' in comparison
      ? []
      : [comparison.own, comparison.peer].map((side) => rateOf(side, work, (s) => Math.min(...s))),
  );
  return rates.length > 0 ? Math.max(...rates) : undefined;
}

function cellsOf({ task, model, name, peer: kind, work, comparison }: ResultRow, peak: number | undefined): string[] {
  const label = [task, model, name, kind];
  if ('failure' in comparison) return [...label, comparison.failure];
  const { own, peer, first, memory, difference, load } = comparison;
  const ratios = (['seconds', 'processorSeconds'] as const).flatMap((time) => {
    const { median: middle, lowest, highest, ofMinima } = ratioOf(comparison, time);
    return [`**${middle.toFixed(2)}** [${lowest.toFixed(2)}–${highest.toFixed(2)}]`, ofMinima.toFixed(2)];
  });
  const seconds = [own, peer].map((side) => median(side.map((measurement) => measurement.seconds)));
  const percent = (side: Comparison['own']) => `${((100 * rateOf(side, work, median)) / peak!).toFixed(0)}%`;
  const gibibytes = (of: (use: MemoryUse) => number) =>
    [memory.own, memory.peer].map((use) => (of(use) / 2 ** 30).toFixed(2)).join(' / ');
  return [
    ...label,
    ...ratios,
    ...seconds.map(short),
    ...seconds.map((s) => `${short(work.amount / s)} ${work.unit}`),
    work.gigaflops === undefined || peak === undefined ? '-' : `${percent(own)} / ${percent(peer)}`,
    `${short(first.own.seconds)} / ${short(first.peer.seconds)}`,
    gibibytes(({ peakBytes }) => peakBytes),
    gibibytes(({ peakBytes, startBytes }) => peakBytes - startBytes),
    difference === 0 ? '0' : difference.toExponential(0),
    load.toFixed(1),
  ];
}

/** A Markdown table that also reads well in a terminal. `peak`: GFLOP/s that rates are shown as fractions of. */
export function renderTable(rows: readonly ResultRow[], peak: number | undefined): string {
  return renderMarkdown([HEADINGS, ...rows.map((row) => cellsOf(row, peak))]);
}

/** Rows of cells, the headings first, padded to columns. Missing cells at the end of a row are empty. */
export function renderMarkdown([headings, ...rows]: readonly (readonly string[])[]): string {
  const lines = [headings!, ...rows];
  const widths = headings!.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const rendered = lines.map((line) => `| ${widths.map((width, i) => (line[i] ?? '').padEnd(width)).join(' | ')} |`);
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [rendered[0]!, rule, ...rendered.slice(1)].join('\n');
}

const START = '<!-- measured: start (written by run.ts) -->';
const END = '<!-- measured: end -->';

/** Puts `block` in place of the measured block of a document, whose other text is written by hand; or makes a document of it. */
export function replaceMeasured(document: string | undefined, block: string): string {
  if (document === undefined) return `${START}\n${block}\n${END}\n`;
  const [start, end] = [document.indexOf(START), document.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`the document has no "${START}" … "${END}" to write between`);
  return `${document.slice(0, start)}${START}\n${block}\n${document.slice(end)}`;
}
