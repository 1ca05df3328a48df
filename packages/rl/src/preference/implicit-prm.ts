import { logSigmoid, where } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { UnpairedLoss } from './unpaired-loss.js';

const implicitPrmOptions = options('implicitPrmLoss', {
  /** What the log-ratio is multiplied by to be a reward. Default 0.05. */
  beta: number({ default: 0.05, above: 0 }),
});
/** Options of `implicitPrmLoss`. */
export type ImplicitPrmLossOptions = Given<typeof implicitPrmOptions>;

/**
 * An implicit process reward model by cross-entropy (arXiv 2412.01981, eq. 5; PRIME's, 2502.01456): -log σ(βh) for right and -log σ(-βh) for wrong
 * completions, with h = log π(y|x) - log π_ref(y|x). Of labels of whole answers it learns the rewards of their steps, which
 * `implicitProcessReward` reads. The rows are those of KTO, `label` true for what is right.
 */
export function implicitPrmLoss(given: ImplicitPrmLossOptions = {}): UnpairedLoss {
  const { beta } = implicitPrmOptions.read(given);
  return {
    kind: 'unpaired',
    name: 'implicit_prm',
    settings: implicitPrmOptions.settings(given),
    beta,
    compute({ logProbs, reference, desirable }) {
      const reward = logProbs.sub(reference).mul(beta);
      return logSigmoid(where(desirable.greater(0.5), reward, reward.neg())).neg();
    },
  };
}
