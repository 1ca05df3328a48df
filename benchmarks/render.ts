import { type Comparison, median, ratioOf } from './compare.js';

export interface ResultRow {
  readonly task: string;
  readonly model: string;
  readonly name: string;
  readonly work: { readonly amount: number; readonly unit: string };
  readonly comparison: Comparison;
}

const HEADINGS = [
  ...['what', 'model', 'case', 'ratio, wall [spread]', 'of minima', 'ratio, processor [spread]', 'of minima'],
  ...['ours, s', 'peer, s', 'ours, rate', 'peer, rate', 'first call, s', 'peak memory, GiB', 'difference', 'load'],
];

/** Three significant digits, without an exponent. */
const short = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(value >= 1 ? 2 : 3);

function cellsOf({ task, model, name, work, comparison }: ResultRow): string[] {
  const { own, peer, first, difference, load } = comparison;
  const ratios = (['seconds', 'processorSeconds'] as const).flatMap((time) => {
    const { median: middle, lowest, highest, ofMinima } = ratioOf(comparison, time);
    return [`**${middle.toFixed(2)}** [${lowest.toFixed(2)}–${highest.toFixed(2)}]`, ofMinima.toFixed(2)];
  });
  const seconds = [own, peer].map((side) => median(side.map((measurement) => measurement.seconds)));
  const gibibytes = [own, peer].map((side) => (side.at(-1)!.peakBytes / 2 ** 30).toFixed(2));
  return [
    ...[task, model, name, ...ratios],
    ...seconds.map(short),
    ...seconds.map((s) => `${short(work.amount / s)} ${work.unit}`),
    `${short(first.own.seconds)} / ${short(first.peer.seconds)}`,
    gibibytes.join(' / '),
    difference === 0 ? '0' : difference.toExponential(0),
    load.toFixed(1),
  ];
}

/** A Markdown table that also reads well in a terminal. */
export function renderTable(rows: readonly ResultRow[]): string {
  const lines = [HEADINGS, ...rows.map(cellsOf)];
  const widths = HEADINGS.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const rendered = lines.map((line) => `| ${line.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`);
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [rendered[0]!, rule, ...rendered.slice(1)].join('\n');
}

const START = '<!-- measured: start (written by run.ts) -->';
const END = '<!-- measured: end -->';

/** Puts `block` in place of the measured block of a document, whose other text is written by hand. */
export function replaceMeasured(document: string, block: string): string {
  const [start, end] = [document.indexOf(START), document.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`the document has no "${START}" … "${END}" to write between`);
  return `${document.slice(0, start)}${START}\n${block}\n${document.slice(end)}`;
}
