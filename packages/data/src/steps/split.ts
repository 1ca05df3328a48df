import { custom, integer, isPosttrainError, number, oneOf, options } from '@posttrain/interfaces';
import { messageOf, RowError } from '../errors.js';
import { isPlainObject, ownValue, type Row, requireRow } from '../rows.js';
import { canonicalJson, hashFraction } from '../stable-hash.js';
import type { DataStep } from '../step.js';

/** The name of a part of a split. */
export type SplitName = 'train' | 'test';

export const SPLIT_NAMES = ['train', 'test'] as const satisfies readonly SplitName[];

const ruleShape = {
  testFraction: number({ above: 0, below: 1 }),
  seed: integer({}),
  key: custom<string | ((row: never) => unknown)>()(
    'a column or a function of the row',
    (value) => typeof value === 'string' || typeof value === 'function',
    { optional: true },
  ),
};
const ruleOptions = options('splitOf', ruleShape);
const splitOptions = options('split', { ...ruleShape, part: oneOf(SPLIT_NAMES, {}) });

/** How rows are shared out to the parts of a split. */
export interface SplitRule<R extends object = Row> {
  /** Expected share of rows in the test part, in (0, 1). */
  readonly testFraction: number;
  readonly seed: number;
  /**
   * A column, or a function of the row. Rows with equal keys land in the same part. Default: the whole row, so that equal rows
   * do. Give `'prompt'` where one prompt has several rows.
   */
  readonly key?: string | ((row: R) => unknown);
}

/**
 * The part a row belongs to: `test` when the hash of seed and key, as a number in [0, 1), is below `testFraction`.
 * It depends on nothing else: not on the order, the other rows or the machine, and raising `testFraction` only moves
 * rows from train to test.
 */
export function splitOf<R extends object = Row>(row: R, rule: SplitRule<R>, rowNumber?: number): SplitName {
  ruleOptions.read(rule);
  return partOf(row, rule, rowNumber);
}

function partOf<R extends object>(row: R, rule: SplitRule<R>, rowNumber?: number): SplitName {
  requireRow(row, rowNumber);
  const { key } = rule;
  let value: unknown = row;
  if (typeof key === 'function') value = keyOf(key, row, rowNumber);
  else if (key !== undefined) value = ownValue(row, key);
  if (value === undefined) {
    throw new RowError(
      rowNumber,
      typeof key === 'string' ? key : 'key',
      'is missing, so the row cannot be split by it.',
    );
  }
  return hashFraction(`${rule.seed}\n${canonicalJson(value)}`) < rule.testFraction ? 'test' : 'train';
}

function keyOf<R extends object>(key: (row: R) => unknown, row: R, rowNumber: number | undefined): unknown {
  try {
    return key(row);
  } catch (error) {
    if (isPosttrainError(error)) throw error;
    throw new RowError(rowNumber, 'key', `the function of the row threw: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Keeps one part of a seeded train/test split. Run it with either `part` over the same source: the parts are disjoint.
 *
 * Rows that differ but ask the same (equal `prompt`, equal `messages` before the last answer, or else equal `text`) would let a test row
 * be trained on. They are counted, in both parts, as a warning of the step's report: `key` keeps them together. The count needs
 * some 50 bytes of memory for each different prompt.
 */
export function split<R extends object = Row>(
  rule: SplitRule<R> & { readonly part: SplitName },
): DataStep<R> & { readonly passes: true } {
  splitOptions.read(rule);
  return {
    name: `split ${rule.part}`,
    version: JSON.stringify([rule.testFraction, rule.seed, String(rule.key)]),
    passes: true,
    async *apply(rows, context) {
      let rowNumber = 0;
      const asked = new Map<number, SplitName>();
      for await (const row of rows) {
        rowNumber++;
        const part = partOf(row, rule, rowNumber);
        const question = questionOf(row);
        if (question !== undefined) {
          const hash = hashFraction(canonicalJson(question));
          const first = asked.get(hash);
          if (first === undefined) asked.set(hash, part);
          else if (first !== part) context.warn(LEAK);
        }
        if (part === rule.part) yield row;
        else context.drop(row, `in the ${part} part`);
      }
    },
  };
}

const LEAK = "rows ask what a row of the other part asks: give key: 'prompt', or a function of the row";

/** What the row asks of a model; `undefined` where it has none of the columns that say so. */
function questionOf(row: object): unknown {
  const [prompt, messages, text] = ['prompt', 'messages', 'text'].map((column) => ownValue(row, column) ?? undefined);
  if (prompt !== undefined) return prompt;
  if (!Array.isArray(messages)) return text;
  const last = messages.findLastIndex((message: unknown) => isPlainObject(message) && message.role === 'assistant');
  return last > 0 ? messages.slice(0, last) : messages;
}
