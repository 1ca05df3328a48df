import type { Key } from '@posttrain/core-tensor';
import {
  custom,
  type Generator,
  type Given,
  integer,
  number,
  OptionError,
  options,
  type Prompt,
  type SamplingParams,
  text,
} from '@posttrain/interfaces';
import { contentHash } from '../run/identity.js';
import { RowOrder } from '../run/row-order.js';
import type { RowSource } from '../run/row-source.js';

/** Samples have seeds that meet by rare chance only. */
const seedOf = (key: Key): number => key.uniformHost(1)[0]! * 2 ** 48;

export const generativeReplayShape = {
  /** γ of LAMOL: replayed rows for each fresh one. Default 0.2, as there. */
  gamma: number({ default: 0.2, min: 0 }),
  /** How the old generator samples: `maxTokens`, `temperature`, `topK`, `stop`. Its seed is drawn. Default: the generator's own. */
  sampling: custom<SamplingParams>()(
    'an object of sampling parameters',
    (value) => typeof value === 'object' && value !== null,
    { default: {}, settings: (value) => ({ ...value }) as Record<string, never> },
  ),
  /** What the old generator is asked to go on from, one drawn for each row. Default: nothing, as LAMOL's begin of text. */
  prompts: custom<readonly Prompt[]>()(
    'a list of at least one prompt',
    (value) => Array.isArray(value) && value.length > 0,
    { default: [''] as readonly Prompt[], settings: (value) => contentHash(value) },
  ),
  /** What stands for the old generator where runs are compared: its folder, its revision. A resumed run must have the same. */
  generatorName: text({}),
  /** How often a sample that makes no row is drawn again, before a fresh row takes its place. Default 3. */
  attempts: integer({ default: 3, min: 1 }),
  /** Seed of the order of fresh rows. Default 42. */
  seed: integer({ default: 42, min: 0 }),
};
const replayOptions = options('generativeReplay', generativeReplayShape);
/** Options of `generativeReplay` that are declared. */
export type GenerativeReplaySettings = Given<typeof replayOptions>;

/** Options of `generativeReplay`. */
export interface GenerativeReplayOptions<Row> extends GenerativeReplaySettings {
  /** The model as it was before this task: it is asked, and never trained. */
  readonly generator: Generator;
  /**
   * A sample as a row, undefined where it makes none. Default: `{ prompt, completion }`, and `{ text }` where there was no prompt;
   * an empty sample makes none.
   */
  readonly toRow?: (sample: string, prompt: Prompt) => Row | undefined;
}

const sampleAsRow = (sample: string, prompt: Prompt): object | undefined => {
  if (sample.trim() === '') return undefined;
  if (prompt === '') return { text: sample };
  const completion = typeof prompt === 'string' ? sample : [{ role: 'assistant', content: sample }];
  return { prompt, completion };
};

/**
 * Deep generative replay (arXiv 1705.08690) for language models (LAMOL, arXiv 1909.03329): while a new task is learnt, rows that the
 * model as it was before generates stand among the new ones, so that nothing of the old tasks need be kept but a model. Of each row
 * it is drawn whether it is fresh, with the probability 1 / (1 + γ). For `sft`; with a `toRow` that makes prompts, for `trainPolicy`.
 * The place among the fresh rows is its state; samples are functions of the request.
 *
 * @param rows fresh rows; every epoch is a shuffle of its own
 * @throws OptionError
 */
export function generativeReplay<Row extends object = Readonly<Record<string, unknown>>>(
  rows: readonly Row[],
  { generator, toRow, ...given }: GenerativeReplayOptions<Row>,
): RowSource<Row> {
  const { gamma, sampling, prompts, attempts, seed } = replayOptions.read(given);
  if (
    typeof generator?.generate !== 'function' ||
    (toRow !== undefined && typeof toRow !== 'function') ||
    rows.length === 0
  ) {
    const problem = 'generator must be a Generator, toRow a function, and rows at least one.';
    throw new OptionError('INVALID_OPTION', 'generativeReplay', 'generator', problem);
  }
  const rowOf = toRow ?? (sampleAsRow as (sample: string, prompt: Prompt) => Row | undefined);
  const order = new RowOrder(rows.length, seed);
  let cursor = 0;
  return {
    name: 'generative-replay',
    settings: {
      ...replayOptions.settings(given),
      rows: contentHash(rows),
      toRow: toRow === undefined ? 'as it comes' : String(toRow),
    },
    async next({ count, key }) {
      const draws = Array.from({ length: count }, (_, i) => {
        const [isOld, which] = key.child(i).uniformHost(2) as unknown as readonly [number, number];
        return { i, isOld: isOld * (1 + gamma) >= 1, prompt: prompts[Math.floor(which * prompts.length)]! };
      });
      const replayed = new Map<number, Row>();
      for (let attempt = 0; attempt < attempts; attempt++) {
        const open = draws.filter(({ i, isOld }) => isOld && !replayed.has(i));
        if (open.length === 0) break;
        const samples = await generator.generate(
          open.map(({ i, prompt }) => ({ ...sampling, prompt, n: 1, seed: seedOf(key.child(i).child(attempt)) })),
        );
        open.forEach(({ i, prompt }, j) => {
          const row = rowOf(samples[j]![0]!.text, prompt);
          if (row !== undefined) replayed.set(i, row);
        });
      }
      return draws.map(({ i }) => ({ row: replayed.get(i) ?? rows[order.at(cursor++)]! }));
    },
    state: () => cursor,
    load(state) {
      cursor = state as number;
    },
  };
}
