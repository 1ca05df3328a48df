import { type Given, number, options } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import { type Rollout, trainedTokens } from '../rollout.js';
import type { Regulariser } from './regulariser.js';

export const positiveExamplesShape = {
  /** μ: weight of the loss. Default 0.1, as in VAPO. */
  mu: number({ default: 0.1, min: 0 }),
  /** A completion with a reward above this is right. Default 0. */
  above: number({ default: 0 }),
};
const positiveExamplesOptions = options('positiveExamples', positiveExamplesShape);
/** Options of `positiveExamples`. */
export type PositiveExamplesOptions = Given<typeof positiveExamplesOptions>;

const RIGHT = 'positive_examples';

/**
 * The language-model loss of VAPO (arXiv 2504.05118, § 3.3.2): + μ · the mean of -log π over the tokens of the completions that were right, so that each
 * of the few is learnt from more than its advantage says. Self-imitation; needs the reward of each rollout.
 *
 * @throws OptionError
 */
export function positiveExamples(given: PositiveExamplesOptions = {}): Regulariser {
  const { mu, above } = positiveExamplesOptions.read(given);
  const tokensOf = (rollout: Rollout): number[] => {
    const isRight = rollout.reward !== null && rollout.reward > above;
    return trainedTokens(rollout).map((trained) => (isRight && trained ? 1 : 0));
  };
  return {
    name: 'positive-examples',
    settings: positiveExamplesOptions.settings(given),
    needsReference: false,
    annotations: [RIGHT],
    annotate(rollout, all) {
      const count = all.reduce((sum, one) => sum + tokensOf(one).filter(Boolean).length, 0);
      return { [RIGHT]: tokensOf(rollout).map((one) => one / Math.max(count, 1)) };
    },
    compute({ logProbs, annotations }) {
      const nll = weightedSum(logProbs.neg(), annotations[RIGHT]!);
      return { loss: nll.mul(mu), metrics: { positive_nll: nll } };
    },
  };
}
