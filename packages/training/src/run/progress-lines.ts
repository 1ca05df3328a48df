import type { OnProgress, ProgressEvent } from '@posttrain/interfaces';
import type { RunOptions } from './run-options.js';

/** Milliseconds between two lines; the last is always written. */
const BETWEEN_LINES = 1000;

/** The least that a line says of time that went into compiling. */
const SHOWN_SECONDS = 0.05;

/** What a line shows of the metrics, by the name it has there. */
const SHOWN: readonly (readonly [name: string, label: string, show: (value: number) => string])[] = [
  ['loss', 'loss', (value) => value.toFixed(4)],
  ['reward', 'reward', (value) => value.toFixed(3)],
  ['eval_loss', 'eval_loss', (value) => value.toFixed(4)],
  ['learning_rate', 'lr', (value) => value.toExponential(2)],
];

/**
 * One line about where a run is: `step 1/100 · loss 1.2345 · lr 2.00e-5 · 1234 tokens/s · ETA 1:05 · compiled 2.1 s`. What is not known is left
 * out.
 */
export function progressLine(
  { done, total, etaSeconds, compileSeconds = 0, metrics = {} }: ProgressEvent,
  tokensPerSecond?: number,
): string {
  const parts = [total === undefined ? `step ${done}` : `step ${done}/${total}`];
  for (const [name, label, show] of SHOWN) {
    const value = metrics[name];
    if (value !== undefined) parts.push(`${label} ${show(value)}`);
  }
  if (tokensPerSecond !== undefined) parts.push(`${Math.round(tokensPerSecond)} tokens/s`);
  if (etaSeconds !== undefined) parts.push(`ETA ${duration(etaSeconds)}`);
  if (compileSeconds >= SHOWN_SECONDS) parts.push(`compiled ${compileSeconds.toFixed(1)} s`);
  return parts.join(' · ');
}

function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/**
 * Writes a line about the first step, the last, and those in between that come a second after the last line. Tokens a second are those of the
 * time in which nothing was compiled; what was compiled in all is said when it has become more.
 */
export function progressLines(write: (line: string) => void, now: () => number = Date.now): OnProgress {
  let before: { readonly at: number; readonly tokens: number | undefined; readonly compiled: number } | undefined;
  let said = 0;
  return (event) => {
    const at = now();
    const isLast = event.done === event.total;
    if (before && at - before.at < BETWEEN_LINES && !isLast) return;
    const tokens = event.metrics?.num_tokens;
    const { compileSeconds: compiled = 0 } = event;
    const took = before && at - before.at - (compiled - before.compiled) * 1000;
    const isRated = before?.tokens !== undefined && tokens !== undefined && took! > 0;
    const isNews = compiled - said >= SHOWN_SECONDS;
    if (isNews) said = compiled;
    const shown = isNews ? event : { ...event, compileSeconds: 0 };
    write(progressLine(shown, isRated ? ((tokens - before!.tokens!) * 1000) / took! : undefined));
    before = { at, tokens, compiled };
  };
}

/** Where the reports of a run go, as its options say. */
export function progressOf({
  progress,
  onProgress,
}: Pick<RunOptions, 'progress' | 'onProgress'>): OnProgress | undefined {
  const isOn = progress ?? (process.stderr.isTTY === true && onProgress === undefined);
  if (isOn === false) return onProgress;
  const lines = progressLines(isOn === true ? (line) => process.stderr.write(`${line}\n`) : isOn);
  return (event) => {
    lines(event);
    onProgress?.(event);
  };
}
