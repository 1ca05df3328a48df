import type { TableCell, TableColumn, TableRow } from '../table.js';
import { type Html, html } from './html.js';
import { type BarPlot, checkPlot, type LinePlot, type Plot, type ScatterPlot } from './plots.js';
import { renderHtmlTable } from './render-table.js';
import { barPlot } from './svg/bar-plot.js';
import { FRAME, marker } from './svg/frame.js';
import { isDrawable, linePlot } from './svg/line-plot.js';

/** Most rows of the table of numbers under a plot. */
const MOST_ROWS = 60;

/** A figure: title, legend, picture, caption, and its numbers as a table that can be unfolded. */
export function renderPlot(plot: Plot): Html {
  checkPlot(plot);
  const empty =
    plot.type === 'bar' ? plot.groups.length === 0 : !plot.series.some(({ points }) => points.some(isDrawable));
  const description = plot.caption ?? `${plot.yLabel} of ${plot.series.map(({ name }) => name).join(', ')}.`;
  return html`<figure class="plot"><h3>${plot.title}</h3>
${plot.series.length > 1 && legend(plot)}
${empty ? html`<p class="empty">There is nothing to draw.</p>` : picture(plot, `${plot.title}. ${description}`)}
<figcaption>${plot.caption}${missing(plot)}</figcaption>
<details><summary>Numbers</summary>${numbers(plot)}</details></figure>`;
}

function picture(plot: Plot, label: string): Html {
  const { height, content } = plot.type === 'bar' ? barPlot(plot) : { height: FRAME.height, content: linePlot(plot) };
  return html`<svg viewBox="0 0 ${FRAME.width} ${height}" role="img" aria-label="${label}">${content}</svg>`;
}

function legend(plot: Plot): Html {
  return html`<ul class="legend">${plot.series.map(({ name }, i) => {
    const line = plot.type === 'line' && html`<path class="line" d="M1 7H23"/>`;
    const sign =
      plot.type === 'bar' ? html`<rect class="bar" x="6" y="1" width="12" height="12" rx="2"/>` : marker(i, 12, 7);
    return html`<li><svg class="series s${i % 6}" viewBox="0 0 24 14" aria-hidden="true">${line}${sign}</svg>${name}</li>`;
  })}</ul>`;
}

function missing(plot: Plot): Html | null {
  const values =
    plot.type === 'bar'
      ? plot.series.flatMap((series) => series.values.map(({ value }) => value !== null && Number.isFinite(value)))
      : plot.series.flatMap((series) => series.points.map(isDrawable));
  const count = values.filter((drawable) => !drawable).length;
  return count === 0
    ? null
    : html` <em>${count} of ${values.length} values are missing or not finite and are not drawn.</em>`;
}

function numbers(plot: Plot): Html {
  const { rows, columns } = plot.type === 'bar' ? barNumbers(plot) : lineNumbers(plot);
  const every = Math.ceil(rows.length / MOST_ROWS);
  const kept = rows.filter((_, i) => i % every === 0 || i === rows.length - 1);
  const note = every > 1 ? `Every ${every}th of ${rows.length} rows, and the last.` : undefined;
  return renderHtmlTable(kept, columns, note);
}

function barNumbers(plot: BarPlot): { rows: TableRow[]; columns: TableColumn[] } {
  const rows = plot.groups.map((group, g) => {
    const row: Record<string, TableCell> = { group };
    plot.series.forEach(({ values }, s) => {
      row[`s${s}`] = values[g];
    });
    return row;
  });
  return { rows, columns: [{ key: 'group', title: ' ' }, ...seriesColumns(plot)] };
}

function lineNumbers(plot: LinePlot | ScatterPlot): { rows: TableRow[]; columns: TableColumn[] } {
  const byX = rowsByX(plot);
  const count = plot.series.reduce((sum, { points }) => sum + points.length, 0);
  // A row for each x is mostly holes where series have xs of their own.
  if (plot.type === 'scatter' || 2 * count < byX.length * plot.series.length) {
    const rows = plot.series.flatMap(({ name, points }) =>
      points.map(({ x, y, standardError }) => ({ name, x, y: { value: y, standardError: standardError ?? null } })),
    );
    const columns = [
      { key: 'name', title: 'Series' },
      { key: 'x', title: plot.xLabel },
      { key: 'y', title: plot.yLabel, format: plot.yFormat ?? 'number' },
    ];
    return { rows, columns: columns as TableColumn[] };
  }
  return { rows: byX, columns: [{ key: 'x', title: plot.xLabel }, ...seriesColumns(plot)] };
}

/** A row for each x, with what every series has there. */
function rowsByX({ series }: LinePlot | ScatterPlot): TableRow[] {
  const byX = new Map<number, Record<string, TableCell>>();
  series.forEach(({ points }, s) => {
    for (const { x, y, standardError } of points) {
      const row = byX.get(x) ?? { x };
      row[`s${s}`] = { value: y, standardError: standardError ?? null };
      byX.set(x, row);
    }
  });
  return [...byX].sort(([a], [b]) => a - b).map(([, row]) => row);
}

function seriesColumns(plot: Plot): TableColumn[] {
  return plot.series.map(({ name }, s) => ({ key: `s${s}`, title: name, format: plot.yFormat ?? 'number' }));
}
