import { custom, type Given, number, options, text } from '@posttrain/interfaces';
import type { Loss } from '../loss/loss.js';
import { negativeLogLikelihood, weightedSum } from '../loss/token-loss.js';
import { divergence, type TeacherModel } from '../readouts/divergence.js';
import { predictions } from '../readouts/predictions.js';

const lwfOptions = options('learningWithoutForgetting', {
  /** The model as it was before this task: its `network` and `weights`, and the `hooks` of its adapter. It is not trained. */
  teacher: custom<TeacherModel>()(
    'a model, or { network, weights, hooks }',
    (value) => typeof value === 'object' && value !== null && 'network' in value && 'weights' in value,
    { decisive: false },
  ),
  /** λ_o, how much the old outputs count beside the new labels. Default 1. */
  lambda: number({ default: 1, min: 0 }),
  /** T, which divides the logits of both models. Default 2, as in the paper. */
  temperature: number({ default: 2, above: 0 }),
  /** What stands for the teacher where runs are compared: its folder, its revision. A resumed run must have the same. */
  teacherName: text({}),
});
/** Options of `learningWithoutForgetting`. */
export type LwfOptions = Given<typeof lwfOptions>;

/**
 * Learning without forgetting (LwF, arXiv 1606.09282): Σ w (-log p(y) + λ_o KL(p'_T ‖ p_T)) over the rows of the new task, with p'
 * the model as it was before and p'_T, p_T the distributions at temperature T. No row of an old task is needed. The paper's
 * second term is the cross-entropy of p'_T and p_T, which is more by the entropy of p'_T: a number without a gradient. It is not
 * multiplied by T².
 *
 * Metrics: those of `negativeLogLikelihood`, `nll` and `distillation`, which is not multiplied by λ_o.
 *
 * @throws OptionError; PosttrainError TEACHER_VOCABULARY where the two have other vocabularies
 */
export function learningWithoutForgetting(given: LwfOptions): Loss {
  const { teacher, lambda, temperature, teacherName } = lwfOptions.read(given);
  const { network, weights, hooks } = teacher;
  const old = divergence({ teacher: { network, weights, ...(hooks && { hooks }) }, beta: 0, temperature });
  const current = predictions();
  return {
    name: `lwf(${teacherName}, lambda ${lambda}, temperature ${temperature})`,
    annotations: [],
    computeFrom(read, inputs) {
      const seen = read(current);
      const { loss: nll, metrics } = negativeLogLikelihood.compute({ ...seen, ...inputs });
      const distillation = weightedSum(read(old), inputs.weights);
      return { loss: nll.add(distillation.mul(lambda)), metrics: { ...metrics, nll, distillation } };
    },
  };
}
