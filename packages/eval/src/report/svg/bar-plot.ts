import { formatMeasured } from '../../format.js';
import { type Html, html } from '../html.js';
import type { BarPlot } from '../plots.js';
import { FRAME, fixed, tickLabels, whisker } from './frame.js';
import { linearScale } from './scale.js';

const BAR_HEIGHT = 17;
const GROUP_GAP = 14;
const TOP = 8;
/** Room for names to the left and for values to the right of the bars. */
const LEFT = 124;
const RIGHT = FRAME.width - 92;

/** The inside of a bar plot and its height: bars lie, so that names and values can be read at any width. */
export function barPlot(plot: BarPlot): { height: number; content: Html } {
  const format = plot.yFormat ?? 'number';
  const ends = plot.series.flatMap(({ values }) =>
    values.flatMap(({ value, standardError }) =>
      value === null ? [] : [value - (standardError ?? 0), value + (standardError ?? 0)],
    ),
  );
  const scale = linearScale([0, ...ends.filter(Number.isFinite)], LEFT, RIGHT);
  const groupHeight = plot.series.length * BAR_HEIGHT + GROUP_GAP;
  const bottom = TOP + plot.groups.length * groupHeight;
  const zero = scale.position(0);

  const labels = tickLabels(scale.ticks, format);
  const grid = scale.ticks.map((tick, i) => {
    const x = fixed(scale.position(tick));
    return html`<line class="${tick === 0 ? 'base' : 'grid'}" x1="${x}" x2="${x}" y1="${TOP}" y2="${bottom}"/><text class="tick" x="${x}" y="${bottom + 17}" text-anchor="middle">${labels[i]}</text>`;
  });
  const names = plot.groups.map((group, g) => {
    const middle = TOP + groupHeight * (g + 0.5);
    return html`<text class="name" x="${LEFT - 10}" y="${fixed(middle)}" dy="0.34em" text-anchor="end">${shorten(group)}</text>`;
  });
  const bars = plot.series.map(({ name, values }, s) => {
    const drawn = values.map((measured, g) => {
      const { value } = measured;
      if (value === null || !Number.isFinite(value)) return null;
      const top = TOP + groupHeight * g + GROUP_GAP / 2 + s * BAR_HEIGHT;
      const middle = top + BAR_HEIGHT / 2;
      const end = scale.position(value);
      const error = measured.standardError ?? 0;
      const shown = formatMeasured(measured, format);
      const farthest = Math.max(zero, end, scale.position(value + error));
      return html`<g><title>${plot.groups[g]}, ${name}: ${shown.value} ${shown.error}</title>
<rect class="bar" x="${fixed(Math.min(zero, end))}" y="${fixed(top + 1)}" width="${fixed(Math.abs(end - zero))}" height="${BAR_HEIGHT - 2}" rx="2"/>
${error > 0 && whisker([scale.position(value - error), middle], [scale.position(value + error), middle])}
<text class="value" x="${fixed(farthest + 7)}" y="${fixed(middle)}" dy="0.34em">${shown.value}<tspan class="tick" dx="4">${shown.error}</tspan></text></g>`;
    });
    return html`<g class="series s${s % 6}">${drawn}</g>`;
  });
  return { height: bottom + 26, content: html`<g class="axes" aria-hidden="true">${grid}${names}</g>${bars}` };
}

function shorten(text: string): string {
  return text.length <= 17 ? text : `${text.slice(0, 16)}…`;
}
