import { softplus, type Tensor } from '@posttrain/core-tensor';
import { type Given, oneOf, options, text } from '@posttrain/interfaces';
import type { Loss } from '../loss/loss.js';
import { weightedSum } from '../loss/token-loss.js';
import { qValues } from '../readouts/q-values.js';

const fudgeLossOptions = options('fudgeLoss', {
  /** As of `qValues`: the head that gives z of every token. Default: the output layer. */
  head: text({ optional: true }),
  /**
   * What is learnt of the label at every prefix. `log_odds`: z are the log-odds of an attribute, which `fudge` of `@posttrain/lm`
   * decodes with (FUDGE); `value`: z is the mean of a reward, which `valueGuided` decodes with (CD-FUDGE). Default `log_odds`.
   */
  target: oneOf(['log_odds', 'value'], { default: 'log_odds' }),
});
/** Options of `fudgeLoss`. */
export type FudgeLossOptions = Given<typeof fudgeLossOptions>;

/**
 * The loss of a classifier of prefixes (FUDGE, arXiv 2104.05218 §3.1; CD-FUDGE, arXiv 2310.17022 §3.2): every prefix of a text learns the label
 * of the whole text. With z_t(x_(t+1)) what the head gives for the token that follows,
 *
 *   log_odds:  Σ_t w_t (log(1 + e^z_t) − ℓ z_t),    value:  Σ_t w_t (z_t − ℓ)²
 *
 * Its optimum is the log-odds of ℓ, or its mean, over what follows the prefix where the texts come from: draw them from the policy that is
 * to be decoded. The annotation `label` has ℓ of each row (of 0 to 1 for `log_odds`). Metric: `mean_output`, Σ_t w_t z_t.
 *
 * @throws OptionError; HeadError where the model has no such head
 */
export function fudgeLoss(given: FudgeLossOptions = {}): Loss {
  const { head, target } = fudgeLossOptions.read(given);
  const outputs = qValues(head === undefined ? {} : { head });
  const lossOf: Record<typeof target, (z: Tensor, label: Tensor) => Tensor> = {
    log_odds: (z, label) => softplus(z).sub(z.mul(label)),
    value: (z, label) => z.sub(label).square(),
  };
  return {
    name: 'fudge',
    annotations: [{ name: 'label', per: 'row', ...(target === 'log_odds' && { range: [0, 1] }) }],
    computeFrom(read, { weights, annotations }) {
      const z = read(outputs).chosen;
      const label = annotations.label!.expandDims(1);
      return {
        loss: weightedSum(lossOf[target](z, label), weights),
        metrics: { mean_output: weightedSum(z, weights) },
      };
    },
  };
}
