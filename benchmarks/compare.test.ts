import { expect, it } from 'vitest';
import { largestDifference, median, ratioOf } from './compare.js';
import { replaceMeasured } from './render.js';

const taking = (seconds: number) => ({ seconds, processorSeconds: 2 * seconds, numbers: [], peakBytes: 0 });

it('gives ratios above 1 when the peer takes longer, pair by pair', () => {
  const ratio = ratioOf({ own: [1, 2, 1].map(taking), peer: [3, 2, 4].map(taking) }, 'seconds');
  expect(ratio).toEqual({ median: 3, lowest: 1, highest: 4, ofMinima: 2 });
});

it('takes the middle of an even number of values as their mean', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

it('never calls numbers equal that cannot be compared', () => {
  expect(largestDifference([1, 200], [1, 202])).toBeCloseTo(2 / 202);
  for (const [a, b] of [
    [[1], [1, 2]],
    [[], []],
    [[Number.NaN], [1]],
  ] as const) {
    expect(largestDifference(a, b)).toBeNaN();
  }
});

it('replaces the measured block only', () => {
  const document = (block: string) =>
    `before\n<!-- measured: start (written by run.ts) -->\n${block}\n<!-- measured: end -->\nafter\n`;
  expect(replaceMeasured(document('old'), 'new')).toBe(document('new'));
  expect(() => replaceMeasured('no block', 'new')).toThrow('measured: start');
});
