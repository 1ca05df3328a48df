import { formatMeasured, formatNumber } from '../../format.js';
import { type Html, html } from '../html.js';
import type { LinePlot, PlotPoint, ScatterPlot } from '../plots.js';
import { axes, FRAME, fixed, marker, tickLabels, whisker } from './frame.js';
import { linearScale, logScale } from './scale.js';

/** More points than this are drawn as a bare line: markers and error bars would hide it. */
const MOST_MARKERS = 40;
/**
 * Min–max downsampling: more points than this are thinned to the lowest and highest of each stretch, which looks the
 * same.
 */
const MOST_POINTS = 1200;

interface DrawnPoint extends PlotPoint {
  readonly y: number;
}

/** The inside of a line or scatter plot. */
export function linePlot(plot: LinePlot | ScatterPlot): Html {
  const drawn = plot.series.map(({ points }) => points.filter(isDrawable));
  const xs = drawn.flatMap((points) => points.map(({ x }) => x));
  const ys = drawn.flatMap((points) =>
    points.flatMap(({ y, standardError }) =>
      points.length > MOST_MARKERS ? [y] : [y - (standardError ?? 0), y + (standardError ?? 0)],
    ),
  );
  const format = plot.yFormat ?? 'number';
  const xScale =
    plot.xScale === 'log'
      ? logScale(xs, FRAME.left + 12, FRAME.right - 14)
      : linearScale(xs, FRAME.left + 6, FRAME.right - 10, { tight: true });
  const yScale = linearScale(format === 'percent' ? [0, ...ys] : ys, FRAME.bottom, FRAME.top);
  const labels = tickLabels(xScale.ticks, 'number');
  const xTicks = xScale.ticks.map((tick, i) => ({ at: xScale.position(tick), label: labels[i]! }));
  const at = ({ x, y }: DrawnPoint): [number, number] => [xScale.position(x), yScale.position(y)];

  const path = (points: readonly DrawnPoint[]): string =>
    thin(points)
      .map((point, i) => `${i === 0 ? 'M' : 'L'}${at(point).map(fixed).join(' ')}`)
      .join('');
  const groups = plot.series.map(({ name, points, smoothing: own }, index) => {
    const smoothing = plot.type === 'line' ? (own ?? plot.smoothing ?? 0) : 0;
    const kept = drawn[index]!;
    const bare = plot.type === 'line' && kept.length > MOST_MARKERS;
    const stretches = plot.type === 'line' ? unbroken(points) : [];
    return html`<g class="series s${index % 6}">
${stretches.map((stretch) => html`<path class="line${smoothing > 0 && ' faint'}" d="${path(stretch)}"/>`)}
${smoothing > 0 && unbroken(movingAverage(points, smoothing)).map((stretch) => html`<path class="line" d="${path(stretch)}"/>`)}
${
  !bare &&
  kept.map((point) => {
    const [x, y] = at(point);
    const error = point.standardError ?? 0;
    const shown = formatMeasured({ value: point.y, ...(error > 0 && { standardError: error }) }, format);
    return html`<g><title>${name}: ${plot.xLabel} ${formatNumber(point.x)}, ${plot.yLabel} ${shown.value} ${shown.error}</title>${error > 0 && whisker([x, yScale.position(point.y - error)], [x, yScale.position(point.y + error)])}${smoothing === 0 && marker(index, x, y)}<circle class="target" cx="${fixed(x)}" cy="${fixed(y)}" r="9"/></g>`;
  })
}
</g>`;
  });
  return html`${axes(yScale, format, plot.yLabel === plot.title ? undefined : plot.yLabel, xTicks, plot.xLabel)}${groups}`;
}

/** Whether a point has a place in the picture. */
export function isDrawable(point: PlotPoint): point is DrawnPoint {
  return point.y !== null && Number.isFinite(point.y) && Number.isFinite(point.x);
}

function unbroken(points: readonly PlotPoint[]): DrawnPoint[][] {
  const stretches: DrawnPoint[][] = [[]];
  for (const point of points) {
    if (isDrawable(point)) stretches.at(-1)!.push(point);
    else if (stretches.at(-1)!.length > 0) stretches.push([]);
  }
  return stretches.filter((stretch) => stretch.length > 0);
}

/** y'_t = Σ_i w^|t−i| y_i / Σ_i w^|t−i|: a two-sided exponential average, which does not lag behind as a one-sided one does. */
export function movingAverage(points: readonly PlotPoint[], weight: number): PlotPoint[] {
  const past = weightedSums(points, weight);
  const future = weightedSums([...points].reverse(), weight).reverse();
  return points.map((point, i) => {
    if (!isDrawable(point)) return point;
    const sum = past[i]!.sum + future[i]!.sum - point.y;
    return { x: point.x, y: sum / (past[i]!.weights + future[i]!.weights - 1) };
  });
}

function weightedSums(points: readonly PlotPoint[], weight: number): { sum: number; weights: number }[] {
  let sum = 0;
  let weights = 0;
  return points.map((point) => {
    sum = weight * sum + (isDrawable(point) ? point.y : 0);
    weights = weight * weights + (isDrawable(point) ? 1 : 0);
    return { sum, weights };
  });
}

function thin(points: readonly DrawnPoint[]): readonly DrawnPoint[] {
  if (points.length <= MOST_POINTS) return points;
  const size = Math.ceil(points.length / (MOST_POINTS / 2));
  const kept: DrawnPoint[] = [];
  for (let start = 0; start < points.length; start += size) {
    const stretch = points.slice(start, start + size);
    const lowest = stretch.reduce((a, b) => (b.y < a.y ? b : a));
    const highest = stretch.reduce((a, b) => (b.y > a.y ? b : a));
    kept.push(...(lowest.x <= highest.x ? [lowest, highest] : [highest, lowest]));
  }
  return kept;
}
