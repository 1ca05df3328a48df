import { type Given, integer, options, type Prompt } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { kindOf } from '../rows.js';
import type { DataStep } from '../step.js';

const rrmAugmentOptions = options('rrmAugment', {
  /** Rows whose answers are exchanged with each other, which are in memory together. Default 1000. */
  windowSize: integer({ default: 1000, min: 3 }),
  /** Which answers meet. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `rrmAugment`. */
export type RrmAugmentOptions = Given<typeof rrmAugmentOptions>;

/** A preference with its prompt. */
export interface RrmSource {
  readonly prompt: Prompt;
  readonly chosen: Prompt;
  readonly rejected: Prompt;
}

/** A pair as `bradleyTerry({ softLabels: true })` takes it. */
export interface RrmPair extends RrmSource {
  /** 1, or 0.5 for answers of other prompts only, neither of which is better. */
  readonly probability: number;
}

/**
 * Augmentation against artifacts (RRM, arXiv 2409.13156, §4.2): of each pair (x, y_w, y_l) and the pairs of two other prompts it makes all 15
 * pairs of the six answers, in answer to x. What was written for x is better than what was not (8 non-contextual pairs, probability 1); of
 * answers to other prompts none is (6 neutral pairs, probability 0.5); and the pair itself comes first. Length, format and phrases
 * are alike in both answers of these then, so that a reward model has the prompt left to look at. The others are those at two random
 * distances in the row's window. The paper keeps of the 14 those that a first reward model is wrong about by 0.2 or more: a `filter` with its
 * verifier behind this step.
 *
 * @throws RowError for a row without `prompt`, `chosen` and `rejected`, all texts or all messages
 */
export function rrmAugment(given: RrmAugmentOptions = {}): DataStep<RrmSource, RrmPair> {
  const { windowSize, seed } = rrmAugmentOptions.read(given);
  return {
    name: 'rrm augment',
    version: JSON.stringify(rrmAugmentOptions.settings(given)),
    async *apply(rows, context) {
      let window: { readonly row: RrmSource; readonly pair: Pair }[] = [];
      let [rowNumber, windows] = [0, 0];
      function* flush(): Generator<RrmPair> {
        const count = window.length;
        if (count < 3) context.warn('too few rows in the window to exchange answers: pairs are as they were');
        const random = context.random(`${seed} ${windows++}`);
        const first = count < 3 ? 0 : random.integer(1, count - 1);
        // Another distance than the first.
        const second = count < 3 ? 0 : 1 + ((first - 1 + random.integer(1, count - 2)) % (count - 1));
        for (const [i, { row, pair }] of window.entries()) {
          const others = count < 3 ? [] : [first, second].map((by) => window[(i + by) % count]!);
          const from = [row, ...others.map((other) => other.row)];
          for (const [part, made] of pairsOf(
            pair,
            others.map((other) => other.pair),
          ).entries()) {
            const key = part === 0 ? undefined : part;
            yield context.derive(made, key === undefined ? row : from, key);
          }
        }
        window = [];
      }
      for await (const row of rows) {
        rowNumber++;
        window.push({ row, pair: pairOf(row, rowNumber) });
        if (window.length === windowSize) yield* flush();
      }
      if (window.length > 0) yield* flush();
    },
  };
}

type Pair = RrmSource;

function pairOf(row: object, rowNumber: number): Pair {
  const { prompt, chosen, rejected } = row as Readonly<Record<string, unknown>>;
  for (const [name, value] of Object.entries({ prompt, chosen, rejected })) {
    if (typeof value !== 'string' && !Array.isArray(value)) {
      throw new RowError(rowNumber, name, `must be a text or messages, got ${kindOf(value)}.`);
    }
    if (typeof value !== typeof prompt) {
      throw new RowError(
        rowNumber,
        name,
        'must be a text where the prompt is one, and messages where that is messages.',
      );
    }
  }
  return { prompt, chosen, rejected } as Pair;
}

function pairsOf({ prompt, chosen, rejected }: Pair, others: readonly Pair[]): RrmPair[] {
  const foreign = others.flatMap((other) => [other.chosen, other.rejected]);
  const better = [chosen, rejected].flatMap((own) => foreign.map((other) => ({ chosen: own, rejected: other })));
  const neutral = foreign.flatMap((one, i) => foreign.slice(i + 1).map((other) => ({ chosen: one, rejected: other })));
  return [
    { prompt, chosen, rejected, probability: 1 },
    ...better.map((pair) => ({ prompt, ...pair, probability: 1 })),
    ...neutral.map((pair) => ({ prompt, ...pair, probability: 0.5 })),
  ];
}
