import { crossEntropy, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { medusaHead, type Weights } from '@posttrain/lm';

/** The label of what is not learnt from, as in torch. */
export const IGNORED_LABEL = -100;

export const medusaLossShape = {
  /** c: head k (from 1) counts c^k, because later tokens are less certain. Default 0.8, as in the paper. */
  decay: number({ default: 0.8, above: 0, max: 1 }),
};
const medusaOptions = options('medusaLoss', medusaLossShape);
/** Options of `medusaLoss`. */
export type MedusaLossOptions = Given<typeof medusaOptions>;

/** What `medusaLoss` gives. */
export interface MedusaLoss {
  readonly loss: Tensor;
  /** The mean cross-entropy of each head, in nats. */
  readonly losses: readonly Tensor[];
}

/**
 * The loss of Medusa-1 (arXiv 2401.10774 eq. 1), of heads on a model that stays as it is:
 *
 *   Σ_k c^k mean_t −log p_k(y_(t+k+1) | h_t),   k = 1 … K
 *
 * @param weights of `MedusaHeads`
 * @param hidden final, normalised hidden states [b, s, width]
 * @param labels int32 [b, s]: the tokens, −100 for those that are not learnt. Each head needs one that is
 * @throws OptionError
 */
export function medusaLoss(
  weights: Weights,
  hidden: Tensor,
  labels: Tensor,
  { numHeads, numLayers }: { readonly numHeads: number; readonly numLayers: number },
  given: MedusaLossOptions = {},
): MedusaLoss {
  const { decay } = medusaOptions.read(given);
  const [b, s, width] = hidden.shape as [number, number, number];
  const losses = Array.from({ length: numHeads }, (_, head) => {
    const count = s - head - 2;
    const states = hidden.slice(1, 0, count).reshape([b * count, width]);
    const targets = labels.slice(1, head + 2).reshape([b * count]);
    const { hidden: x, output } = medusaHead(weights, states, { head, numLayers });
    return crossEntropy(x, output, targets, { ignoreIndex: IGNORED_LABEL });
  });
  const weighted = losses.map((each, k) => each.mul(decay ** (k + 1)));
  return { loss: weighted.reduce((sum, each) => sum.add(each)), losses };
}
