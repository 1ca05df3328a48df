import { type DivergenceOptions, divergence } from '../readouts/divergence.js';
import type { Loss } from '../trainer/loss.js';
import { weightedSum } from '../trainer/token-loss.js';

/**
 * Distillation from a teacher's distributions: Σ w · D(teacher, student) over the predictions of the rows, D being the
 * `divergence` of GKD (arXiv 2306.13649). With w = mask / number of trained tokens in the step it is the mean that TRL's GKDTrainer
 * reports. Which rows they are makes the method: a data set's completions (supervised), or the student's own samples (on-policy).
 *
 * A teacher model runs in the same pass. A top-k teacher was run before, and is two annotations of the rows.
 */
export function distillation(options: DivergenceOptions): Loss {
  const readout = divergence(options);
  return {
    name: 'distillation',
    annotations: readout.annotations ?? [],
    computeFrom: (read, { weights }) => ({ loss: weightedSum(read(readout), weights), metrics: {} }),
  };
}
