import { formatNumber, type NumberFormat } from '../../format.js';
import { type Html, html } from '../html.js';
import type { Scale } from './scale.js';

/** The drawing area, in the units of the viewBox. */
export const FRAME = { width: 460, height: 280, left: 52, right: 446, top: 34, bottom: 236 } as const;

/** A number on an axis: short, `12k` for 12 000, and every tick of one axis with the same decimals. */
export function tickLabels(ticks: readonly number[], format: NumberFormat): string[] {
  const scaled = format === 'percent' ? ticks.map((tick) => Number((tick * 100).toPrecision(12))) : [...ticks];
  const largest = Math.max(...scaled.map(Math.abs));
  const [divisor, unit] =
    largest >= 1e9 ? [1e9, 'G'] : largest >= 1e6 ? [1e6, 'M'] : largest >= 1e4 ? [1e3, 'k'] : [1, ''];
  if (largest > 0 && largest < 1e-3) return scaled.map((tick) => (tick === 0 ? '0' : tick.toExponential(0)));
  return scaled.map((tick) => {
    const text = formatNumber(Number((tick / divisor).toPrecision(4)));
    return tick === 0 ? '0' : text + unit + (format === 'percent' ? '%' : '');
  });
}

/** Grid, tick labels and axis titles; `xTicks` are positions with their labels. */
export function axes(
  yScale: Scale,
  yFormat: NumberFormat,
  yLabel: string | undefined,
  xTicks: readonly { readonly at: number; readonly label: string }[],
  xLabel: string,
): Html {
  const labels = tickLabels(yScale.ticks, yFormat);
  return html`<g class="axes" aria-hidden="true">
${yScale.ticks.map((tick, i) => {
  const y = fixed(yScale.position(tick));
  return html`<line class="${tick === 0 || i === 0 ? 'base' : 'grid'}" x1="${FRAME.left}" x2="${FRAME.right}" y1="${y}" y2="${y}"/><text class="tick" x="${FRAME.left - 7}" y="${y}" dy="0.34em" text-anchor="end">${labels[i]}</text>`;
})}
${xTicks.map(({ at, label }) => html`<text class="tick" x="${fixed(at)}" y="${FRAME.bottom + 17}" text-anchor="middle">${label}</text>`)}
${yLabel && html`<text class="axis-title" x="4" y="14">${yLabel}</text>`}
<text class="axis-title" x="${(FRAME.left + FRAME.right) / 2}" y="${FRAME.height - 5}" text-anchor="middle">${xLabel}</text>
</g>`;
}

/** An error bar with caps from one point to another, upright or lying. */
export function whisker(from: readonly [x: number, y: number], to: readonly [x: number, y: number]): Html {
  const upright = from[0] === to[0];
  const cap = ([x, y]: readonly [x: number, y: number]): string =>
    upright ? `M${fixed(x - 3)} ${fixed(y)}h6` : `M${fixed(x)} ${fixed(y - 3)}v6`;
  return html`<path class="whisker" d="M${from.map(fixed).join(' ')}L${to.map(fixed).join(' ')}${cap(from)}${cap(to)}"/>`;
}

/** The marker of series number `index`: shapes differ as well as colours. */
export function marker(index: number, x: number, y: number): Html {
  const r = 3.6;
  const at = `translate(${fixed(x)} ${fixed(y)})`;
  switch (index % 4) {
    case 0:
      return html`<circle class="marker" r="${r}" transform="${at}"/>`;
    case 1:
      return html`<rect class="marker" x="${-r}" y="${-r}" width="${2 * r}" height="${2 * r}" transform="${at}"/>`;
    case 2:
      return html`<path class="marker" d="M0 -4.6L4.4 3.4H-4.4Z" transform="${at}"/>`;
    default:
      return html`<path class="marker" d="M0 -4.8L4.8 0L0 4.8L-4.8 0Z" transform="${at}"/>`;
  }
}

/** Coordinates to a tenth of a unit, which no screen shows finer. */
export function fixed(value: number): number {
  return Math.round(value * 10) / 10;
}
