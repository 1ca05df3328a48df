import { type Adapter, type RunnableModel, sequenceLogProbs } from '@posttrain/lm';
import type { Loss } from '../loss/loss.js';
import { type TrainingRow, TrainingRowError } from '../loss/rows.js';
import { weightedSum } from '../loss/token-loss.js';
import { type DivergenceOptions, divergence } from '../readouts/divergence.js';

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

/** Options of `annotateTopK`. */
export interface AnnotateTopKOptions {
  /** How many tokens of each distribution. */
  readonly k: number;
  /** Of the teacher. Default: none. */
  readonly adapter?: Adapter;
  /** Divides the teacher's logits. Default 1. */
  readonly temperature?: number;
  /** Default 4096. */
  readonly maxTokensPerPass?: number;
}

/**
 * The rows with a teacher's k most likely tokens at every prediction (`teacher_ids`) and log p of each (`teacher_log_probs`), for a
 * `TopKTeacher`. Rows must not be packed.
 */
export async function annotateTopK(
  teacher: RunnableModel,
  rows: readonly TrainingRow[],
  { k, ...options }: AnnotateTopKOptions,
): Promise<TrainingRow[]> {
  const sequences = rows.map(({ tokens }) => tokens);
  const scored = await sequenceLogProbs(teacher, sequences, { ...options, topLogProbs: k });
  return rows.map((row, i) => {
    if ((row.lengths?.length ?? 1) > 1)
      throw new TrainingRowError(i, 'is packed; annotate its sequences before they are');
    const top = scored[i]!.topLogProbs!.flat();
    const teacher_ids = Int32Array.from(top, ({ tokenId }) => tokenId);
    const teacher_log_probs = Float32Array.from(top, ({ logProb }) => logProb);
    return { ...row, annotations: { ...row.annotations, teacher_ids, teacher_log_probs } };
  });
}
