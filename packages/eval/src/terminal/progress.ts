import { custom, type Given, number, type OnProgress, options, type ProgressEvent } from '@posttrain/interfaces';
import { formatNumber, formatSeconds } from '../format.js';
import { cutToWidth, displayWidth } from './width.js';

/** The part of a `process.stderr` that is used. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const progressOptions = options('createProgress', {
  /** Default `process.stderr`. */
  stream: custom<ProgressStream>()(
    'a stream with write(text)',
    (value) => typeof value === 'object' && value !== null && 'write' in value,
    { optional: true },
  ),
  /** Where the stream is not a terminal: least seconds between two lines of one stage. Default 10. */
  lineSeconds: number({ default: 10, min: 0 }),
  /** The clock, in milliseconds. Default `Date.now`. */
  now: custom<() => number>()('a function', (value) => typeof value === 'function', { optional: true }),
});
/** Options of `createProgress`. */
export type CreateProgressOptions = Given<typeof progressOptions>;

/** What `createProgress` gives: a callback, and the end of the line. */
export interface Progress {
  /** Give this to whatever takes `onProgress`. */
  readonly onProgress: OnProgress;
  /** Leaves the last state standing and goes to the next line. */
  finish(): void;
}

const BAR_WIDTH = 24;
const REDRAW_MILLISECONDS = 60;

/**
 * Shows progress with an ETA: one bar that is redrawn in a terminal; in a file or a CI log one line at a stage's begin,
 * at its end, and every `lineSeconds` between.
 */
export function createProgress(given: CreateProgressOptions = {}): Progress {
  const { stream = process.stderr, lineSeconds, now = Date.now } = progressOptions.read(given);
  const interval = stream.isTTY ? REDRAW_MILLISECONDS : lineSeconds * 1000;
  let stage: string | undefined;
  let shownAt = 0;
  let latest: ProgressEvent | undefined;
  let pending = false;

  const show = (event: ProgressEvent): void => {
    stream.write(stream.isTTY ? `\r\u001b[2K${barLine(event, stream.columns ?? 80)}` : `${plainLine(event)}\n`);
    shownAt = now();
    pending = false;
  };
  const finish = (): void => {
    if (latest && pending) show(latest);
    if (stage !== undefined && stream.isTTY) stream.write('\n');
    stage = undefined;
    latest = undefined;
  };
  return {
    onProgress: (event) => {
      if (stage !== undefined && stage !== event.stage) finish();
      const first = stage === undefined;
      stage = event.stage;
      latest = event;
      pending = true;
      if (first || event.done === event.total || now() - shownAt >= interval) show(event);
    },
    finish,
  };
}

function barLine(event: ProgressEvent, columns: number): string {
  const { stage, done, total } = event;
  if (!total) return cutToWidth(`${stage}  ${tail(event)}`, columns - 1);
  const eighths = Math.round(Math.min(1, done / total) * BAR_WIDTH * 8);
  const full = '█'.repeat(Math.floor(eighths / 8));
  const part = eighths % 8 > 0 ? ' ▏▎▍▌▋▊▉'[eighths % 8]! : '';
  const bar = full + part + '░'.repeat(BAR_WIDTH - displayWidth(full + part));
  return cutToWidth(`${stage}  ${bar}  ${tail(event)}`, columns - 1);
}

function plainLine(event: ProgressEvent): string {
  return `${event.stage}: ${tail(event)}`;
}

function tail({ done, total, etaSeconds, compileSeconds = 0, metrics }: ProgressEvent): string {
  const parts = [
    total
      ? `${Math.floor((100 * done) / total)} %  ${formatNumber(done)}/${formatNumber(total)}`
      : `${formatNumber(done)} done`,
  ];
  if (etaSeconds !== undefined && done !== total) parts.push(`eta ${formatSeconds(etaSeconds)}`);
  if (compileSeconds >= 0.05) parts.push(`compiled ${formatSeconds(compileSeconds)}`);
  for (const [name, value] of Object.entries(metrics ?? {})) parts.push(`${name} ${formatNumber(value)}`);
  return parts.join('  ');
}
