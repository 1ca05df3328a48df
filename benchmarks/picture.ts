import type { Point, PowerLaw } from './fit.js';

/** Points, and the line that was fitted to them. */
export interface Curve {
  readonly name: string;
  readonly points: readonly Point[];
  readonly fit: PowerLaw;
}

const PANEL = { width: 260, height: 220, left: 56, top: 46, gap: 24 };

/** The ticks of a logarithmic axis: 1, 2 and 5 times the powers of ten. */
const ticksWithin = (low: number, high: number): number[] =>
  Array.from({ length: 13 }, (_, i) => i - 6)
    .flatMap((power) => [1, 2, 5].map((digit) => Number(`${digit}e${power}`)))
    .filter((tick) => tick >= low && tick <= high);

/** An SVG document: one panel a curve, both axes logarithmic, all with the same vertical axis. */
export function powerLawPicture(title: string, unit: string, curves: readonly Curve[]): string {
  const ys = curves.flatMap(({ points }) => points.map(({ y }) => y));
  const [low, high] = [Math.min(...ys) / 1.3, Math.max(...ys) * 1.3];
  const width = PANEL.left + curves.length * (PANEL.width + PANEL.gap);
  const height = PANEL.top + PANEL.height + 48;
  const vertical = (y: number) =>
    PANEL.top + PANEL.height * (1 - (Math.log(y) - Math.log(low)) / (Math.log(high) - Math.log(low)));
  const text = (x: number, y: number, content: string, more = '') =>
    `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${content}</text>`;
  const line = (x1: number, y1: number, x2: number, y2: number, style: string) =>
    `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" ${style}/>`;
  const grid = 'stroke="#ddd"';

  const panels = curves.flatMap(({ name, points, fit }, i) => {
    const left = PANEL.left + i * (PANEL.width + PANEL.gap);
    const xs = points.map(({ x }) => x);
    const [from, to] = [Math.min(...xs) / 1.3, Math.max(...xs) * 1.3];
    const horizontal = (x: number) =>
      left + (PANEL.width * (Math.log(x) - Math.log(from))) / (Math.log(to) - Math.log(from));
    const fitted = (x: number) => vertical(fit.scale * x ** fit.exponent);
    const exponent = `time ∝ size^${fit.exponent.toFixed(2)} (± ${fit.standardError.toFixed(2)})`;
    return [
      `<rect x="${left}" y="${PANEL.top}" width="${PANEL.width}" height="${PANEL.height}" fill="none" stroke="#888"/>`,
      ...ticksWithin(low, high).flatMap((y) => [
        line(left, vertical(y), left + PANEL.width, vertical(y), grid),
        ...(i === 0 ? [text(left - 6, vertical(y) + 4, String(y), 'text-anchor="end"')] : []),
      ]),
      ...xs.map((x) => text(horizontal(x), PANEL.top + PANEL.height + 16, String(x), 'text-anchor="middle"')),
      line(horizontal(from), fitted(from), horizontal(to), fitted(to), 'stroke="#c33" stroke-width="1.5"'),
      ...points.map(
        ({ x, y }) => `<circle cx="${horizontal(x).toFixed(1)}" cy="${vertical(y).toFixed(1)}" r="3.5" fill="#247"/>`,
      ),
      text(left + 8, PANEL.top + 16, exponent, 'fill="#c33"'),
      text(left + PANEL.width / 2, PANEL.top + PANEL.height + 36, name, 'text-anchor="middle"'),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(PANEL.left, 20, `${title}: ${unit}`, 'font-size="14"'),
    ...panels,
    '</svg>',
    '',
  ].join('\n');
}
