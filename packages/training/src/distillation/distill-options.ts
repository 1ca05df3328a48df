import { boolean, custom, type Given, integer, number, options, type Read } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import { isRows, ROWS, type Rows, rowsHint } from '../run/collect-rows.js';
import { trainingShape } from '../run/training-options.js';
import { trlNames } from '../run/trl-names.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { DistillRow } from './distill-rows.js';
import { TeacherFile } from './teacher-file.js';

const shape = {
  ...trainingShape,
  /**
   * What is imitated: a model with the student's vocabulary and its token ids, or what one has said of these very rows
   * (`storeTeacherTopK`, with `lmbda: 0`).
   */
  teacher: custom<CausalLM | TeacherFile>()(
    'a CausalLM (await CausalLM.load(folder) reads one), or a TeacherFile',
    (value) =>
      value instanceof TeacherFile ||
      (typeof value === 'object' && value !== null && 'network' in value && 'weights' in value),
    { decisive: false },
  ),
  /**
   * `{ prompt, completion? }` as texts or lists of messages, or `{ messages }`. Completions are needed where data is
   * trained on.
   */
  rows: custom<Rows<DistillRow>>()(ROWS, isRows, { decisive: false, hint: rowsHint }),
  /**
   * Held-out rows, of which evaluations give `eval_loss`, the mean divergence. Those without a completion get one of
   * the student's, always from the same random numbers. Default: none.
   */
  evaluationRows: custom<Rows<DistillRow>>()(ROWS, isRows, { optional: true, decisive: false, hint: rowsHint }),
  /** λ, the probability that a batch is sampled from the student anew, and is not the data's. Default 0.5. */
  lmbda: number({ default: 0.5, min: 0, max: 1 }),
  /**
   * 0: KL(teacher ‖ student). 1: KL(student ‖ teacher). Between: the generalised Jensen-Shannon divergence. Default
   * 0.5.
   */
  beta: number({ default: 0.5, min: 0, max: 1 }),
  /** Divides the logits when completions are sampled. Default 0.9. */
  temperature: number({ default: 0.9, min: 1e-4 }),
  /** Divides the logits of both in the divergence. Default 1, as in GKDTrainer. */
  divergenceTemperature: number({ default: 1, above: 0 }),
  /**
   * α of knowledge distillation (Hinton): the loss is α T² divergence + (1 − α) cross-entropy with the data's tokens, T being
   * `divergenceTemperature`; Hinton's divergence is `beta: 0`. It needs `lmbda: 0`. Default: the divergence alone, without T².
   */
  alpha: number({ optional: true, min: 0, max: 1 }),
  /**
   * Compare with the teacher's k most likely tokens and the rest as one outcome: less memory. Default: the whole
   * vocabulary.
   */
  topK: integer({ optional: true, min: 1 }),
  /**
   * Sample the completions of batches that are not the student's from the teacher (sequence-level distillation).
   * Default false.
   */
  seqKd: boolean({ default: false }),
  /** Most tokens of a completion that is sampled. Default 128. */
  maxCompletionLength: integer({ default: 128, min: 1 }),
  /** Most tokens of prompt and completion; more are cut off at the end. Default: the model's context, at most 1024. */
  maxLength: integer({ optional: true, min: 2 }),
  /** Prompts in an update. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Times every prompt is seen; may be a fraction. Default 3. */
  epochs: number({ default: 3, above: 0, decisive: false }),
  /** Updates; replaces `epochs`. */
  steps: integer({ optional: true, min: 1 }),
  /** The peak rate. Default 2e-5, which suits whole models; adapters want about ten times as much. */
  learningRate: number({ default: 2e-5, min: 0 }),
  /** Completions sampled together: memory only. Default 64. */
  maxBatch: integer({ default: 64, min: 1, decisive: false }),
};

/** TRL's names of its GKDTrainer. */
export const DISTILL_TRL_NAMES = {
  ...{ teacher_model: 'teacher', max_new_tokens: 'maxCompletionLength', max_completion_length: 'maxCompletionLength' },
  seq_kd: 'seqKd',
} as const;

/** The declared options of `distill`. */
export const distillOptions = options('distill', shape, trlNames(shape, DISTILL_TRL_NAMES));

/** The options with their defaults. */
export type DistillSettings = Read<typeof distillOptions>;

/** Options of `distill`. */
export interface DistillOptions<A extends TrainableAdapter = TrainableAdapter>
  extends Omit<Given<typeof distillOptions>, 'adapter'> {
  /** What is trained, beside the frozen student. Left out: every weight of the student. */
  readonly adapter?: A;
}
