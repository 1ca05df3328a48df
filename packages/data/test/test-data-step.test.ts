import { describe, expect, it } from 'vitest';
import {
  type AnyStep,
  type DataStep,
  filter,
  map,
  minhashDeduplicate,
  shuffle,
  split,
  take,
  validate,
} from '../src/index.js';
import { testDataStep } from '../src/testing/index.js';

interface Text {
  readonly text: string;
  readonly i: number;
}

const sentence = 'one two three four five six seven eight nine ten';
const rows: Text[] = Array.from({ length: 12 }, (_, i) => ({
  i,
  text: `${sentence} ${i % 4} ${'x'.repeat(1 + (i % 4))}`,
}));

describe('testDataStep', () => {
  testDataStep(it, () => filter('even', ({ i }: Text) => i % 2 === 0), { rows });
  testDataStep(it, () => map('size', ({ text }: Text) => ({ size: text.length })), { rows });
  testDataStep(it, () => split({ part: 'train', testFraction: 0.3, seed: 1 }), { rows });
  testDataStep(it, () => validate('language-modeling'), { rows });
  testDataStep(it, () => shuffle({ seed: 1 }), { rows, sharded: false });
  testDataStep(it, () => take(12), { rows, sharded: false });
  testDataStep(it, () => minhashDeduplicate(), { rows });

  const step = (more: Partial<AnyStep>): DataStep<Text, object, never> => ({
    name: 'wrong',
    version: '1',
    apply: (given: AsyncIterable<object>) => given,
    ...(more as object),
  });
  let calls = 0;
  it.each<[string, Partial<AnyStep>, RegExp]>([
    ['says what it is', { version: '' }, /needs a version/],
    [
      'counts every row, and says why it drops one',
      {
        passes: true,
        apply: async function* (given: AsyncIterable<Text>) {
          for await (const row of given) if (row.i > 3) yield row;
        },
      },
      /kept and dropped are not what it read/,
    ],
    [
      'changes no row that it was given',
      {
        apply: async function* (given: AsyncIterable<Text>) {
          for await (const row of given) yield Object.assign(row, { changed: true });
        },
      },
      /changed/,
    ],
    [
      'gives the same rows, in the same order, each time',
      {
        apply: async function* (given: AsyncIterable<Text>) {
          for await (const row of given) yield { ...row, call: calls++ };
        },
      },
      /call/,
    ],
    [
      'stops when the signal fires',
      {
        apply: async function* (given: AsyncIterable<Text>) {
          try {
            for await (const row of given) yield row;
          } catch {
            // Hides it.
          }
        },
      },
      /hid that it was stopped/,
    ],
    [
      'gives the same rows in one shard and in three',
      {
        apply: async function* (given: AsyncIterable<Text>) {
          let first = true;
          for await (const row of given) {
            if (!first) yield row;
            first = false;
          }
        },
      },
      /deep/,
    ],
  ])('finds a step that breaks: %s', async (what, wrong, message) => {
    const checks = new Map<string, () => Promise<void>>();
    const copies = rows.map((row) => ({ ...row }));
    testDataStep(
      (name, body) => checks.set(name, body),
      () => step(wrong),
      { rows: copies },
    );
    await expect(checks.get(`step "wrong" ${what}`)!()).rejects.toThrow(message);
  });
});
