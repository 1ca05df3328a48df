import { type Given, integer, number, options, type Prompt } from '@posttrain/interfaces';
import type { DataStep, StepContext } from '../step.js';
import { eachRow, type ProblemRow, type Rollout, rollOut, rolloutRow, rolloutShape } from './rollouts.js';

const { stepSeparator: _, ...sampled } = rolloutShape;
const shape = {
  ...sampled,
  /** Rows at work at a time. Default 8. */
  concurrency: integer({ default: 8, min: 1, decisive: false }),
};
const shortestOptions = options('shortestRejectionSampling', shape);
/** Options of `shortestRejectionSampling`. */
export type ShortestRejectionSamplingOptions = Given<typeof shortestOptions>;

const pairOptions = options('long2shortPairs', {
  ...shape,
  /** How many times as long as the chosen one a completion that is right is rejected for. Default 1.5. */
  ratio: number({ default: 1.5, min: 1 }),
});
/** Options of `long2shortPairs`. */
export type Long2shortPairsOptions = Given<typeof pairOptions>;

/** A row for supervised fine-tuning: the shortest right answer. */
export interface ShortestRow {
  readonly prompt: Prompt;
  readonly completion: string;
}

/** A row for preference training: a short right answer and a longer one. */
export interface Long2shortPair {
  readonly prompt: Prompt;
  readonly chosen: string;
  readonly rejected: string;
}

/** What a row's completions are drawn with. */
type Sampling = Parameters<typeof rollOut>[2];

async function completionsOf<R extends ProblemRow>(
  row: R,
  rowNumber: number,
  settings: Omit<Sampling, 'stepSeparator'>,
  context: StepContext<R>,
): Promise<{ readonly prompt: Prompt; readonly all: readonly Rollout[]; readonly shortest: Rollout | undefined }> {
  const of = rolloutRow(row, rowNumber, context);
  const [all] = await rollOut(of, [''], { ...settings, stepSeparator: '' }, context);
  // Of equally short ones the first.
  const right = all!.filter(({ isRight }) => isRight).sort((a, b) => a.tokens - b.tokens);
  if (right.length === 0) context.drop(row, 'no completion is right');
  return { prompt: of.prompt, all: all!, shortest: right[0] };
}

/**
 * Shortest rejection sampling (long2short of Kimi k1.5, arXiv 2501.12599, § 2.4): of `rollouts` completions of a prompt the shortest that is right, for
 * supervised fine-tuning. Short is what has few tokens. Rows without a right one are dropped, and those that cannot be scored.
 *
 * @throws OptionError; RowError for a row without a prompt
 */
export function shortestRejectionSampling<R extends ProblemRow>(
  given: ShortestRejectionSamplingOptions,
): DataStep<R, ShortestRow> {
  const settings = shortestOptions.read(given);
  return {
    name: 'shortest-rejection-sampling',
    version: JSON.stringify(shortestOptions.settings(given)),
    apply: (rows, context) =>
      eachRow(rows, context, settings.concurrency, async (row, rowNumber) => {
        const { prompt, shortest } = await completionsOf(row, rowNumber, settings, context);
        return shortest ? [context.derive({ prompt, completion: shortest.text }, row)] : [];
      }),
  };
}

/**
 * Pairs of long2short DPO (Kimi k1.5, arXiv 2501.12599, § 2.4): chosen is the shortest completion that is right; rejected, in a pair each, are those
 * that are longer and wrong, and those that are right and at least `ratio` times as long. Rows with nothing to choose or to reject are dropped.
 *
 * @throws OptionError; RowError for a row without a prompt
 */
export function long2shortPairs<R extends ProblemRow>(given: Long2shortPairsOptions): DataStep<R, Long2shortPair> {
  const { ratio, concurrency, ...settings } = pairOptions.read(given);
  return {
    name: 'long2short-pairs',
    version: JSON.stringify(pairOptions.settings(given)),
    apply: (rows, context) =>
      eachRow(rows, context, concurrency, async (row, rowNumber) => {
        const { prompt, all, shortest } = await completionsOf(row, rowNumber, settings, context);
        if (!shortest) return [];
        const isLonger = ({ tokens, isRight }: Rollout) =>
          tokens > shortest.tokens && (!isRight || tokens >= ratio * shortest.tokens);
        const rejected = all.filter(isLonger);
        if (rejected.length === 0) context.drop(row, 'no completion is longer');
        return rejected.map(({ text }, i) => {
          const pair = { prompt, chosen: shortest.text, rejected: text };
          return context.derive(pair, row, rejected.length > 1 ? String(i) : undefined);
        });
      }),
  };
}
