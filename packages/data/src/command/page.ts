import type { StepReport } from '../step.js';
import type { Statistics } from './statistics.js';

/** A dropped row that is shown. */
export interface DroppedExample {
  readonly step: string;
  readonly reason: string;
  readonly id: string;
  readonly text: string;
}

/** What a run did. */
export interface RunReport {
  readonly pipeline: string;
  readonly output: string;
  readonly before: Statistics;
  readonly after: Statistics;
  readonly steps: readonly StepReport[];
  readonly examples: readonly DroppedExample[];
  readonly warnings: readonly string[];
}

const escaped = (text: unknown): string =>
  String(text).replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;margin:1rem 0;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8886;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#8882;padding:.6rem;border-radius:.3rem}
meter{width:100%;height:1rem}.wide{overflow-x:auto}`;

const number = (value: number): string => (Number.isInteger(value) ? value.toLocaleString('en') : value.toFixed(1));

const table = (caption: string, head: readonly string[], rows: readonly (readonly (string | number)[])[]): string => {
  const isNumber = (i: number) => rows.some((row) => typeof row[i] === 'number');
  const cell = (tag: string, value: string | number, i: number) =>
    `<${tag}${isNumber(i) ? ' class="n"' : ''}>${typeof value === 'number' ? number(value) : value}</${tag}>`;
  return `<div class="wide"><table><caption>${escaped(caption)}</caption><thead><tr>${head.map((title, i) => cell('th', escaped(title), i)).join('')}</tr></thead><tbody>${rows
    .map((row) => `<tr>${row.map((value, i) => cell('td', value, i)).join('')}</tr>`)
    .join('')}</tbody></table></div>`;
};

/** The page of a run: one HTML file without scripts, which loads nothing, so that nothing in a row can run. */
export function renderPage({ pipeline, output, before, after, steps, examples, warnings }: RunReport): string {
  const figures: readonly (readonly [string, (of: Statistics) => number])[] = [
    ['rows', ({ rows }) => rows],
    ['characters', ({ characters }) => characters],
    ['words', ({ words }) => words],
    ['mean length', ({ meanCharacters }) => meanCharacters],
    ['shortest', ({ lengths }) => lengths.min],
    ['25 %', ({ lengths }) => lengths.p25],
    ['median', ({ lengths }) => lengths.p50],
    ['75 %', ({ lengths }) => lengths.p75],
    ['95 %', ({ lengths }) => lengths.p95],
    ['longest', ({ lengths }) => lengths.max],
  ];
  const most = Math.max(1, ...before.histogram, ...after.histogram);
  const bins = Array.from({ length: Math.max(before.histogram.length, after.histogram.length) }, (_, i) => i);
  const bar = (value: number, name: string) =>
    `<meter min="0" max="${most}" value="${value}" aria-label="${escaped(name)}">${value}</meter>`;
  const reasons = steps.flatMap(({ step, reasons }) =>
    Object.entries(reasons).map(([reason, count]) => [escaped(step), escaped(reason), count]),
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>${escaped(pipeline)}</title><style>${STYLE}</style></head><body>
<h1>${escaped(pipeline)}</h1><p>${number(before.rows)} rows read, ${number(after.rows)} written to ${escaped(output)}.</p>
${warnings.map((warning) => `<p>${escaped(warning)}</p>`).join('')}
<h2>Before and after</h2>
${table(
  'Of the text, in characters',
  ['', 'before', 'after'],
  figures.map(([name, of]) => [escaped(name), of(before), of(after)]),
)}
${table(
  'Texts by length',
  ['characters', 'before', '', 'after', ''],
  bins.map((i) => [
    `${2 ** i}–${2 ** (i + 1) - 1}`,
    bar(before.histogram[i] ?? 0, 'before'),
    before.histogram[i] ?? 0,
    bar(after.histogram[i] ?? 0, 'after'),
    after.histogram[i] ?? 0,
  ]),
)}
<h2>Steps</h2>
${table(
  'Rows',
  ['step', 'read', 'kept', 'dropped'],
  steps.map(({ step, read, kept, dropped }) => [escaped(step), read, kept, dropped]),
)}
${reasons.length > 0 ? table('Why rows were dropped', ['step', 'reason', 'rows'], reasons) : '<p>No row was dropped.</p>'}
<h2>Examples of dropped rows</h2>
${examples.map(({ step, reason, id, text }) => `<h3>${escaped(step)}: ${escaped(reason)}</h3><p>Row ${escaped(id)}</p><pre>${escaped(text)}</pre>`).join('')}
</body></html>
`;
}
