import { logSumExp, type Tensor, where } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { logAddExp, reduceOverVocabulary, sumOverVocabulary, type VocabularyLogits } from '../readouts/vocabulary.js';

export const eagleLossShape = {
  /** w_cls: what the classification counts beside the regression. Default 0.1, as in the paper. */
  classificationWeight: number({ default: 0.1, min: 0 }),
};
const eagleOptions = options('eagleLoss', eagleLossShape);
/** Options of `eagleLoss`. */
export type EagleLossOptions = Given<typeof eagleOptions>;

/** What `eagleLoss` gives. */
export interface EagleLoss {
  readonly loss: Tensor;
  /** Mean smooth L1 distance of the features. */
  readonly regression: Tensor;
  /** Mean cross-entropy, in nats, of what the model says after them. */
  readonly classification: Tensor;
}

/**
 * The loss of EAGLE (arXiv 2401.15077 §4.2) over n predicted features, of a head on a model that stays as it is:
 *
 *   mean_t SmoothL1(f_t, f̂_t) + w_cls mean_t −Σ_y p_t(y) log p̂_t(y),    p = softmax of the model's output layer on f, p̂ on f̂
 *
 * @param states f̂ [n, width]
 * @param features f [n, width]
 * @param learnt float32 [n]: 1 for those that count, else 0; one at least
 * @param output the output layer: its matrix [vocabulary, width], and what caps its logits
 * @throws OptionError
 */
export function eagleLoss(
  states: Tensor,
  features: Tensor,
  learnt: Tensor,
  output: Pick<VocabularyLogits, 'matrix' | 'softCap'>,
  given: EagleLossOptions = {},
): EagleLoss {
  const { classificationWeight } = eagleOptions.read(given);
  const count = learnt.sum();
  const meanOf = (each: Tensor) => each.mul(learnt).sum().div(count);
  const distance = states.sub(features).abs();
  const regression = meanOf(where(distance.less(1), distance.square().mul(0.5), distance.sub(0.5)).mean(1));
  const layers = [features, states].map((own): VocabularyLogits => ({ ...output, states: own, temperature: 1 }));
  const sums = layers.map((layer) => reduceOverVocabulary([layer], ([z]) => logSumExp(z!), logAddExp));
  const crossEntropies = sumOverVocabulary(layers, (logits) => {
    const [wanted, own] = logits.map((z, i) => z.sub(sums[i]!));
    return wanted!.exp().mul(own!).sum(1).neg();
  });
  const classification = meanOf(crossEntropies);
  return { loss: regression.add(classification.mul(classificationWeight)), regression, classification };
}
