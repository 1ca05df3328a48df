import { type Given, number, options } from '@posttrain/interfaces';
import type { Loss } from '../loss/loss.js';
import { weightedSum } from '../loss/token-loss.js';
import { type DivergenceOptions, divergence } from '../readouts/divergence.js';
import { predictions } from '../readouts/predictions.js';

const knowledgeDistillationOptions = options('knowledgeDistillation', {
  /** α: the weight of the teacher's distributions; 1 - α is that of the labels. Default 0.5. */
  alpha: number({ default: 0.5, min: 0, max: 1 }),
  /** T: divides the logits of both in the divergence; the labels' term has T = 1. Default 2. */
  temperature: number({ default: 2, above: 0 }),
  /** Which divergence, as `divergence` has it. Default 0: KL(teacher ‖ student), the paper's. */
  beta: number({ default: 0, min: 0, max: 1 }),
});

/** Options of `knowledgeDistillation`. */
export type KnowledgeDistillationOptions = Given<typeof knowledgeDistillationOptions> &
  Pick<DivergenceOptions, 'teacher' | 'chunkSize'>;

/**
 * Knowledge distillation (Hinton et al., arXiv 1503.02531): soft targets of a teacher beside the hard labels of the data,
 *
 *   L = Σ_t w_t [α T² D_T(teacher, student) - (1 - α) log p(y_t)]
 *
 * where D_T is the divergence (nats; KL(teacher ‖ student) with β 0) of the two distributions at temperature T. T² keeps the two
 * terms in proportion whatever T is, since gradients of soft targets shrink as 1 / T². Rows as of `distillation`, whose labels are their
 * own tokens: rows that the student has sampled have none. Metrics, weighted as the loss: `kd_loss` (T² D_T) and `nll_loss`.
 *
 * @throws OptionError
 */
export function knowledgeDistillation({ teacher, chunkSize, ...given }: KnowledgeDistillationOptions): Loss {
  const { alpha, temperature, beta } = knowledgeDistillationOptions.read(given);
  const soft = divergence({ teacher, beta, temperature, ...(chunkSize !== undefined && { chunkSize }) });
  const hard = predictions();
  return {
    name: 'knowledge-distillation',
    annotations: soft.annotations ?? [],
    computeFrom(read, { weights }) {
      const kd = weightedSum(read(soft), weights).mul(temperature ** 2);
      const nll = weightedSum(read(hard).logProbs, weights).neg();
      return { loss: kd.mul(alpha).add(nll.mul(1 - alpha)), metrics: { kd_loss: kd, nll_loss: nll } };
    },
  };
}
