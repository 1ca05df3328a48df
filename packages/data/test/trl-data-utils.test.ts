import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  extractPrompt,
  isConversational,
  isConversationalFromValue,
  maybeConvertToChatml,
  maybeExtractPrompt,
  maybeUnpairPreferenceDataset,
  type Row,
  unpairPreferenceDataset,
} from '../src/index.js';
import { collect } from './temporary-folder.js';

interface Case {
  readonly row: Row;
  readonly is_conversational: boolean;
  readonly is_conversational_from_value: boolean;
  readonly maybe_convert_to_chatml: Row;
  readonly maybe_extract_prompt: Row;
  readonly extract_prompt?: Row;
}

/** Made by TRL: see goldens/make_goldens.py. */
const golden = JSON.parse(readFileSync(new URL('./goldens/trl-data-utils.json', import.meta.url), 'utf8')) as {
  readonly cases: readonly Case[];
  readonly unpair: { readonly rows: readonly Row[]; readonly unpaired: readonly Row[] };
};

describe('as TRL', () => {
  test.each(golden.cases.map((one) => [JSON.stringify(one.row), one] as const))('%s', (_, one) => {
    const before = structuredClone(one.row);
    expect(isConversational(one.row)).toBe(one.is_conversational);
    expect(isConversationalFromValue(one.row)).toBe(one.is_conversational_from_value);
    expect(maybeConvertToChatml(one.row)).toEqual(one.maybe_convert_to_chatml);
    expect(maybeExtractPrompt(one.row)).toEqual(one.maybe_extract_prompt);
    if (one.extract_prompt !== undefined) expect(extractPrompt(one.row)).toEqual(one.extract_prompt);
    expect(one.row).toEqual(before);
  });

  test('unpairPreferenceDataset yields the same rows', async () => {
    const ours = await collect(unpairPreferenceDataset(golden.unpair.rows));
    const sorted = (rows: readonly Row[]) =>
      rows.toSorted((a, b) => String(a.completion).localeCompare(String(b.completion)));
    expect(sorted(ours)).toEqual(sorted(golden.unpair.unpaired));
    expect(ours.map((row) => row.label)).toEqual([true, false, true, false]);
    expect(await collect(maybeUnpairPreferenceDataset(golden.unpair.rows))).toEqual(ours);
    expect(await collect(maybeUnpairPreferenceDataset(ours))).toEqual(ours);
  });
});

describe('extractPrompt', () => {
  test('prompt + completion is the text again, and the completions differ at once', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '😀', '😁') });
    fc.assert(
      fc.property(text, text, text, (start, a, b) => {
        const chosen = start + a;
        const rejected = start + b;
        fc.pre(!chosen.startsWith(rejected) && !rejected.startsWith(chosen));
        const row = extractPrompt({ chosen, rejected }) as Record<'prompt' | 'chosen' | 'rejected', string>;
        expect(row.prompt + row.chosen).toBe(chosen);
        expect(row.prompt + row.rejected).toBe(rejected);
        const restA = [...row.chosen];
        const restB = [...row.rejected];
        const common = restA
          .slice(
            0,
            restA.findIndex((character, i) => character !== restB[i]),
          )
          .join('');
        expect(['', ' ']).toContain(common);
        if (common === '') expect(row.prompt.endsWith(' ')).toBe(false);
      }),
    );
  });

  test('where TRL cuts arbitrarily: one text the start of the other, or both the same', () => {
    for (const [chosen, rejected] of [
      ['a b', 'a b c'],
      ['a b c', 'a b'],
      ['same', 'same'],
      ['', 'x'],
    ]) {
      expect(() => extractPrompt({ chosen, rejected }, 7)).toThrow(/row 7, field "(chosen|rejected)": is the start/);
    }
    expect(extractPrompt({ chosen: 'yes ', rejected: 'no ' })).toEqual({ prompt: '', chosen: 'yes ', rejected: 'no ' });
    expect(() => extractPrompt({ chosen: 'a', rejected: [] })).toThrow(/must both be strings or both messages/);
  });

  test('other columns stay', () => {
    expect(extractPrompt({ id: 3, chosen: 'p a', rejected: 'p b' })).toEqual({
      id: 3,
      prompt: 'p',
      chosen: ' a',
      rejected: ' b',
    });
  });
});
