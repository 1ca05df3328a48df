import { renderMarkdown } from '../render.js';
import type { Figures } from './own-engine.js';

const numbersIn = (figures: Figures | undefined, name: RegExp): number[] =>
  Object.entries(figures ?? {}).flatMap(([key, value]) => (name.test(key) && typeof value === 'number' ? [value] : []));

const show = (value: number | undefined): string =>
  value === undefined || !Number.isFinite(value) ? '-' : value >= 100 ? value.toFixed(0) : value.toPrecision(3);

/** The figures that answer a question, as a table: rates, and fractions of what PyTorch measured the card to do. */
export function summaryOf(results: Readonly<Record<string, Figures>>): string {
  const best = (label: string, name: RegExp) => {
    const found = numbersIn(results[label], name);
    return found.length > 0 ? Math.max(...found) : undefined;
  };
  const peak = best('torch matmul', /^(bfloat16|float16) /);
  const bandwidth = best('torch copy', /^GB\/s$/);
  const fraction = (value: number | undefined, of: number | undefined) =>
    value === undefined || of === undefined ? '-' : `${((100 * value) / of).toFixed(1)}%`;
  const rows = Object.entries(results).flatMap(([label, figures]) => {
    const failed = figures.failed ?? figures.notRun;
    if (failed !== undefined) return [[label, '-', '-', '-', '-', '-', `${failed}`]];
    const rate = best(label, /GFLOP\/s$/);
    const memory = best(label, /GB\/s$/);
    const tokens = best(label, /^(new )?tokens\/s$/);
    if (rate === undefined && memory === undefined && tokens === undefined) return [];
    const note = Object.entries(figures).flatMap(([key, value]) =>
      /^(losses|first tokens)/.test(key) ? [`${key}: ${JSON.stringify(value)}`] : [],
    );
    return [
      [
        label,
        show(rate),
        fraction(rate, peak),
        show(memory),
        fraction(memory, bandwidth),
        show(tokens),
        note.join('; '),
      ],
    ];
  });
  const headings = ['step', 'GFLOP/s', 'of matmul peak', 'GB/s', 'of bandwidth', 'tokens/s', 'notes'];
  return renderMarkdown([headings, ...rows]);
}
