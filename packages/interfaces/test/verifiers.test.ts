import { describe, expect, it } from 'vitest';
import { settingsOf, type Verifier } from '../src/index.js';
import { exactMatch, formatTags, functionVerifier, numericMatch, ruleVerifier } from '../src/verifiers/index.js';

const verdictOf = async (verifier: Verifier, completion: string, row?: Record<string, unknown>) =>
  (await verifier.verify([{ prompt: 'q', completion, ...(row && { row }) }]))[0]!;

describe('what a run that is resumed compares', () => {
  // These are in the checkpoints of runs that began before rewards were verifiers.
  it.each<[object, object]>([
    [exactMatch(), { name: 'exactMatch', column: 'answer', extract: 'not given', percent: 'not given' }],
    [
      exactMatch({ column: 'gold', percent: 'unit' }),
      { name: 'exactMatch', column: 'gold', extract: 'not given', percent: 'unit' },
    ],
    [
      numericMatch({ tolerance: 0.1 }),
      { name: 'numericMatch', column: 'answer', tolerance: 0.1, percent: 'not given' },
    ],
    [formatTags(), { name: 'formatTags', tags: '["think","answer"]' }],
    [functionVerifier('own', () => 1, { settings: { beta: 2 } }), { name: 'own', beta: 2 }],
    [ruleVerifier('rule', { k: 1 }, () => 1), { name: 'rule', k: 1 }],
  ])('%o', (verifier, wanted) => {
    expect(settingsOf(verifier)).toEqual(wanted);
  });

  it('tells functions and filters apart', () => {
    const one = settingsOf(functionVerifier('f', ({ completion }) => completion.length));
    expect(one).toEqual(settingsOf(functionVerifier('f', ({ completion }) => completion.length)));
    expect(one).not.toEqual(settingsOf(functionVerifier('f', ({ completion }) => completion.length + 1)));
    const filtered = settingsOf(exactMatch({ filters: [(text) => text.trim()] }));
    expect(filtered).not.toEqual(settingsOf(exactMatch({ filters: [(text) => text.slice(1)] })));
  });
});

describe('exactMatch', () => {
  it('takes the reference from a column or a function, and filters of both kinds', async () => {
    const filters = [{ name: 'first', apply: (text: string) => text.split(';')[0]! }, (text: string) => text.slice(1)];
    expect(await verdictOf(exactMatch({ column: 'gold', filters }), '=7;8', { gold: 7 })).toEqual({
      score: 1,
      answer: '7',
    });
    expect(await verdictOf(exactMatch({ target: ({ gold }) => [String(gold), '8'] }), '#### 8', { gold: 7 })).toEqual({
      score: 1,
      answer: '8',
    });
    expect(() => exactMatch({ column: 'gold', target: () => '1' })).toThrow(/"column" or "target", not both/);
  });

  it.each<[Record<string, unknown> | undefined, RegExp]>([
    [undefined, /a request has no row/],
    [
      {},
      /exactMatch needs the column "answer", but the row has no columns; name another with "column", or give "target"/,
    ],
    [{ answer: '' }, /the reference answer is ""; it must be a text that is not empty/],
    [{ answer: [] }, /the reference answer is \[\]/],
    [{ answer: { value: 1 } }, /the reference answer is \{"value":1\}/],
    [{ answer: Number.NaN }, /the reference answer is "NaN"/],
  ])('refuses the row %j', async (row, message) => {
    await expect(verdictOf(exactMatch(), '7', row)).rejects.toMatchObject({
      code: 'VERIFIER_INPUT',
      message: expect.stringMatching(message),
    });
  });
});

it('numericMatch names the answer it found, also where it is near enough', async () => {
  expect(await verdictOf(numericMatch({ tolerance: 0.01 }), 'It is 3.14.', { answer: 3.15 })).toEqual({
    score: 1,
    answer: '157/50',
  });
  expect(await verdictOf(numericMatch(), 'no number', { answer: 7 })).toEqual({ score: 0, answer: null });
});
