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

  it.each(cases.filter(({ strategy }) => strategy !== 'bfd'))(
    'splits long sequences as TRL does: $strategy, $row_length, $lengths',
    ({ strategy, lengths, row_length, rows }) => {
      const idsOf = (example: number, start: number, end: number) =>
        Array.from({ length: end - start }, (_, t) => 1000 * example + start + t);
      const given = lengths
        .map((length, example) => ({ tokens: idsOf(example, 0, length), mask: Array<number>(length).fill(1) }))
        .filter(({ tokens }) => tokens.length > 0);
      const packed = packRows(given, row_length, strategy as 'bfd_split' | 'wrapped');
      // TRL keeps rows that train nothing: those of single tokens.
      const trains = (pieces: Case['rows'][number]) =>
        strategy === 'wrapped'
          ? pieces.reduce((sum, [, start, end]) => sum + end - start, 0) > 1
          : pieces.some(([, start, end]) => end - start > 1);
      const expected = rows.filter(trains).map((pieces) => pieces.flatMap((piece) => idsOf(...piece)));
      expect(packed.map(({ tokens }) => tokens)).toEqual(expected);
      for (const { tokens, mask, lengths: of } of packed) {
        expect(of.reduce((a, b) => a + b, 0)).toBe(tokens.length);
        // Nothing is predicted from another sequence; with wrapped there is one.
        const starts = of.map((_, i) => of.slice(0, i).reduce((a, b) => a + b, 0));
        if (strategy === 'wrapped') expect(of).toEqual([tokens.length]);
        else expect(mask).toEqual(tokens.map((_, t) => (starts.includes(t) ? 0 : 1)));
      }
    },
  );

  it('bfd_split loses no token, and trains all but the first of each piece', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }), (lengths) => {
        const rows = lengths.map((length, i) => ({
          tokens: Array.from({ length }, (_, t) => 100 * i + t),
          mask: Array<number>(length).fill(1),
        }));
        const packed = packRows(rows, 12, 'bfd_split');
        const kept = packed.flatMap(({ tokens }) => tokens);
        const trained = packed.flatMap(({ tokens, mask }) => tokens.filter((_, t) => mask[t] === 1));
        const all = rows.flatMap(({ tokens }) => tokens);
        expect(new Set(kept).size).toBe(kept.length);
        expect(trained.sort((a, b) => a - b)).toEqual(all.filter((id) => (id % 100) % 12 !== 0));
      }),
    );
  });

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
