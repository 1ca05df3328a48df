import type { NumberFormat } from '../format.js';
import { cellText, columnsOf, type TableCell, type TableColumn, type TableRow } from '../table.js';
import { type Html, html } from './html.js';

/** A table with its standard errors set smaller; it scrolls sideways where it is wider than the page. */
export function renderHtmlTable(
  rows: readonly TableRow[],
  columns: readonly (string | TableColumn)[] | undefined,
  caption: string | undefined,
): Html {
  const shown = columnsOf(rows, columns).map((column) => ({
    ...column,
    numeric: rows.length > 0 && rows.every((row) => cellText(row[column.key], column.format).numeric),
  }));
  const cell = (value: TableCell, format: NumberFormat): Html => {
    const text = cellText(value, format);
    return html`${text.value}${text.error && html` <span class="error">${text.error}</span>`}`;
  };
  return html`<div class="table" role="region" tabindex="0" aria-label="${caption ?? 'Table'}"><table>${caption && html`<caption>${caption}</caption>`}
<thead><tr>${shown.map(({ title, numeric }) => html`<th scope="col"${numeric && html` class="numeric"`}>${title}</th>`)}</tr></thead>
<tbody>${rows.map(
    (row) =>
      html`<tr>${shown.map(({ key, format, numeric }, i) =>
        i === 0 && !numeric
          ? html`<th scope="row">${cell(row[key], format)}</th>`
          : html`<td${numeric && html` class="numeric"`}>${cell(row[key], format)}</td>`,
      )}</tr>`,
  )}</tbody></table></div>`;
}
