import { type Given, oneOf, options, type Scorer, text } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { featureRequestOf, featureRequestShape } from '../selection/feature-requests.js';
import {
  highest,
  keepShape,
  type SelectionStep,
  scored,
  scoreRows,
  scorerOption,
  selectionStep,
} from '../selection/selection-step.js';

const ifdOptions = options('ifdSelect', {
  /** The model that is to be trained, or, for Superfiltering, a much smaller one. */
  scorer: scorerOption,
  ...keepShape,
  /** `loss`: Cherry's ratio of mean losses. `perplexity`: Superfiltering's ratio of perplexities. Default `'loss'`. */
  ratio: oneOf(['loss', 'perplexity'], { default: 'loss' }),
  /** What stands before an answer that is scored by itself. A local model cannot score without any: give its text of the beginning, or a line break. Default nothing. */
  emptyPrompt: text({ default: '' }),
  ...featureRequestShape,
});
/** Options of `ifdSelect`. */
export type IfdSelectOptions = Given<typeof ifdOptions>;

/**
 * The instruction-following difficulty of answers: L(A | Q) / L(A), L the mean negative log-likelihood of the answer's tokens in nats, or the ratio of their exponentials. Above 1 the
 * question makes its answer less likely, as where they do not belong together. `null` for an answer without tokens, and one that is certain by itself.
 */
export async function instructionFollowingDifficulty(
  scorer: Scorer,
  pairs: readonly { readonly prompt: Parameters<Scorer['score']>[0][number]['prompt']; readonly completion: string }[],
  { ratio = 'loss', emptyPrompt = '' }: { readonly ratio?: 'loss' | 'perplexity'; readonly emptyPrompt?: string } = {},
): Promise<(number | null)[]> {
  const asked = pairs.flatMap(({ prompt, completion: continuation }) => [
    { prompt, continuation },
    { prompt: emptyPrompt, continuation },
  ]);
  const scores = await scored(scorer, asked);
  return pairs.map((_, i) => {
    const [given, alone] = [scores[2 * i]!, scores[2 * i + 1]!];
    if (given.tokens === 0 || alone.tokens === 0) return null;
    const [conditioned, direct] = [-given.logProb / given.tokens, -alone.logProb / alone.tokens];
    if (ratio === 'perplexity') return Math.exp(conditioned - direct);
    return direct > 0 ? conditioned / direct : null;
  });
}

/**
 * Selection by instruction-following difficulty (Cherry, arXiv 2308.12032; its code takes the ratio of losses): rows above 1 go (and, by perplexities, those at 1, as in each method's code), and of the rest those with the highest ratio stay, which
 * a model has most to learn from. With `ratio: 'perplexity'` and a small scorer it is Superfiltering (2402.00530), whose small model ranks as a large one does.
 *
 * @throws OptionError; RowError for a row without prompt and completion; PosttrainError `BAD_RESPONSE`
 */
export function ifdSelect<R extends object = Row>(given: IfdSelectOptions): SelectionStep<R> {
  const settings = ifdOptions.read(given);
  const { scorer, request, batchSize, ratio } = settings;
  const isTooHard = (score: number) => (ratio === 'loss' ? score > 1 : score >= 1);
  return selectionStep(
    'ifd select',
    JSON.stringify(ifdOptions.settings(given)),
    'others are harder to follow',
    async (rows, context) => {
      const scores = await scoreRows(rows, context, batchSize, async (batch, first) => {
        const pairs = batch.map((row, i) => featureRequestOf(row, first + i, request));
        return instructionFollowingDifficulty(scorer, pairs, settings);
      });
      return highest(
        scores.map(({ id, score }) => ({ id, score: score === null || isTooHard(score) ? null : score })),
        settings,
      );
    },
  );
}

/** Superfiltering (arXiv 2402.00530): `ifdSelect` by the ratio of perplexities under a small model. */
export const superfilter = <R extends object = Row>(given: Omit<IfdSelectOptions, 'ratio'>): SelectionStep<R> =>
  ifdSelect<R>({ ...given, ratio: 'perplexity' });
