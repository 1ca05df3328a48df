/** How a number is shown: as it is, or times 100 with a percent sign. */
export type NumberFormat = 'number' | 'percent';

/** A number with its standard error, where there is one. Every `MetricResult` is one. */
export interface Measured {
  readonly value: number | null;
  readonly standardError?: number | null;
}

/** A measured number as text, in the two parts that tables align: `61.2` and `± 1.4 %`. */
export function formatMeasured(measured: Measured, format: NumberFormat): { value: string; error: string } {
  const { value, standardError } = measured;
  const unit = format === 'percent' ? ' %' : '';
  if (value === null || Number.isNaN(value)) return { value: '–', error: '' };
  const scale = format === 'percent' ? 100 : 1;
  if (standardError === null || standardError === undefined) {
    return { value: (format === 'percent' ? (value * scale).toFixed(1) : formatNumber(value)) + unit, error: '' };
  }
  const decimals = format === 'percent' ? 1 : decimalsFor(standardError);
  return { value: (value * scale).toFixed(decimals), error: `± ${(standardError * scale).toFixed(decimals)}${unit}` };
}

/** A number in at most four significant digits; whole numbers in full, with thin spaces between thousands. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '∞' : '−∞';
  const magnitude = Math.abs(value);
  const sign = value < 0 ? '−' : '';
  if (Number.isInteger(value) && magnitude < 1e15)
    return sign + String(magnitude).replace(/\B(?=(\d{3})+$)/g, '\u2009');
  if (magnitude >= 1e6 || magnitude < 1e-3) return sign + magnitude.toExponential(2);
  return sign + String(Number(magnitude.toPrecision(4)));
}

/** Seconds as people say them: `850 ms`, `12 s`, `3 min 05 s`, `2 h 10 min`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const pad = (n: number): string => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}

/** Decimals that show a standard error in two significant digits. */
function decimalsFor(standardError: number): number {
  if (standardError === 0) return 3;
  return Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(standardError))));
}
