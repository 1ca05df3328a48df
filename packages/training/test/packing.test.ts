import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bestFitDecreasing, packRows } from '../src/index.js';

interface Case {
  readonly strategy: string;
  readonly row_length: number;
  readonly lengths: readonly number[];
  readonly rows: readonly (readonly (readonly [number, number, number])[])[];
}
const path = join(import.meta.dirname, '../../../goldens/sft/packing.json');
const { cases } = JSON.parse(await readFile(path, 'utf8')) as { cases: Case[] };

describe('bestFitDecreasing', () => {
  it.each(cases.filter(({ strategy }) => strategy === 'bfd'))(
    'packs as TRL does: %j',
    ({ lengths, row_length, rows }) => {
      // TRL drops empty examples and cuts long ones; here the caller has done both.
      const present = lengths.flatMap((length, example) => (length > 0 ? [example] : []));
      const cut = present.map((example) => Math.min(lengths[example]!, row_length));
      const bins = bestFitDecreasing(cut, row_length).map((bin) => bin.map((i) => [present[i]!, 0, cut[i]!]));
      expect(bins).toEqual(rows);
    },
  );

  it('keeps every item once, overfills no bin, and leaves no two bins that could be one', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 32 }), { maxLength: 60 }), (lengths) => {
        const bins = bestFitDecreasing(lengths, 32);
        expect(bins.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
        const sums = bins.map((bin) => bin.reduce((sum, i) => sum + lengths[i]!, 0));
        expect(Math.max(0, ...sums)).toBeLessThanOrEqual(32);
        for (const [i, a] of sums.entries()) for (const b of sums.slice(i + 1)) expect(a + b).toBeGreaterThan(32);
      }),
    );
  });

  it('refuses what does not fit', () => {
    expect(() => bestFitDecreasing([3, 9], 8)).toThrow(/item 1 of length 9 does not fit rows of 8/);
  });
});

describe('packRows', () => {
  it('puts tokens and masks together, and trains no token from the sequence before', () => {
    const rows = [
      { tokens: [1, 2], mask: [1, 1] },
      { tokens: [3, 4, 5], mask: [1, 0, 1] },
    ];
    expect(packRows(rows, 5)).toEqual([{ tokens: [3, 4, 5, 1, 2], mask: [0, 0, 1, 0, 1], lengths: [3, 2] }]);
    const [first, second] = [{ taskIds: 1 }, { taskIds: 2 }];
    const [packed] = packRows(
      [
        { ...rows[0]!, adapterInputs: first },
        { ...rows[1]!, adapterInputs: second },
      ],
      5,
    );
    expect(packed!.adapterInputs).toEqual([second, first]);
  });
});
