import {
  boolean,
  custom,
  type Given,
  integer,
  NOT_GIVEN,
  number,
  oneOf,
  options,
  type Read,
  settingsOf,
} from '@posttrain/interfaces';
import { negativeLogLikelihood } from '../loss/token-loss.js';
import { isRows, ROWS, type Rows, rowsHint } from '../run/collect-rows.js';
import { isRowSource, type RowSource } from '../run/row-source.js';
import { trainingShape } from '../run/training-options.js';
import { trlNames } from '../run/trl-names.js';
import type { AnyLoss } from '../trainer/lift-token-loss.js';
import type { Penalty } from '../trainer/penalty.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import { noiseShape } from '../trainer/trainer-options.js';
import { isUpdateRule, UPDATE_RULE, type UpdateRule } from '../update/update-rule.js';
import type { SftRow } from './tokenize-rows.js';

const isLoss = (value: unknown): boolean => {
  const loss = value as
    | Partial<Record<'name' | 'annotations' | 'groupSize' | 'compute' | 'computeFrom', unknown>>
    | null
    | undefined;
  const computes = typeof loss?.compute === 'function' || typeof loss?.computeFrom === 'function';
  const isAlone = loss?.groupSize === undefined || loss.groupSize === 1;
  return computes && isAlone && typeof loss?.name === 'string' && Array.isArray(loss.annotations);
};

const isPenalties = (value: unknown): boolean =>
  Array.isArray(value) && value.every((one) => typeof one?.compute === 'function' && typeof one.name === 'string');

const shape = {
  ...trainingShape,
  ...noiseShape,
  /** In one of TRL's formats; or a source of such rows, which is asked for those of every update and needs `steps`. */
  rows: custom<Rows<SftRow> | RowSource<SftRow>>()(
    `${ROWS}, or a source of rows`,
    (value) => isRows(value) || isRowSource(value),
    { decisive: false, hint: rowsHint },
  ),
  /** Held-out rows, of which evaluations give `eval_loss`: the mean over all of their trained tokens. Default: none. */
  evaluationRows: custom<Rows<SftRow>>()(ROWS, isRows, { optional: true, decisive: false, hint: rowsHint }),
  /** Rows (packed rows, when packing) per update. How they are split to fit memory changes nothing. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Put several sequences into one row of `maxLength` tokens; they do not see each other. Default false. */
  packing: boolean({ default: false }),
  /**
   * How sequences share rows, with `packing`: `bfd` (best-fit decreasing; long ones are cut), `bfd_split` (long ones go on in other rows),
   * `wrapped` (one after the other, cut anywhere; they see what comes before). Default `bfd`, as in TRL.
   */
  packingStrategy: oneOf(['bfd', 'bfd_split', 'wrapped'], { optional: true }),
  /** Rows of a source that are packed together, with `packing`: one such buffer is in memory at a time. Default 1000. */
  packingBuffer: integer({ optional: true, min: 1 }),
  /**
   * Which rows an update has: `shuffle`, every row once an epoch; `poisson`, each row with the probability batchSize / number of
   * rows, drawn anew for every update, which is what `privacySpent` assumes. Then batchSize is the mean only, an update may have
   * no row, and it needs an `update` rule that divides by batchSize: `dpSgd({ …, expectedBatchSize: batchSize })`. Default `shuffle`.
   */
  sampling: oneOf(['shuffle', 'poisson'], { optional: true }),
  /** Passes over the rows; may be a fraction. Default 3. */
  epochs: number({ default: 3, above: 0, decisive: false }),
  /** Updates; replaces `epochs`, with a warning where both are given. */
  steps: integer({ optional: true, min: 1 }),
  /** The peak rate. Default 2e-5, which suits whole models; adapters want about ten times as much. */
  learningRate: number({ default: 2e-5, min: 0 }),
  /**
   * What is minimised, over rows whose weights add up to 1: a `TokenLoss`, or a `Loss` over readouts that annotations and scalars of the
   * rows are not needed for. Default `negativeLogLikelihood`.
   */
  loss: custom<AnyLoss>()('a loss of rows that do not belong together, such as negativeLogLikelihood', isLoss, {
    optional: true,
    // The default, said.
    settings: (loss) => (loss === negativeLogLikelihood ? NOT_GIVEN : settingsOf(loss)),
  }),
  /** What is added to the loss once a step, whatever the rows are: `ewc({ … })`. Default: none. */
  penalties: custom<readonly Penalty[]>()('a list of penalties, such as ewc({ … })', isPenalties, {
    default: [] as readonly Penalty[],
    // Their tensors are looked at when a run begins.
    decisive: false,
  }),
  /**
   * How an update is made: `dpSgd(…)`, or a rule of your own. Default: the optimizer's step of the gradient of all
   * rows.
   */
  update: custom<UpdateRule>()(UPDATE_RULE, isUpdateRule, { optional: true }),
  /** Train the completion only, in rows that have one. Default true. */
  completionOnlyLoss: boolean({ default: true }),
  /** Train the assistant's messages only; every row must have messages. Default false, as in TRL. */
  assistantOnlyLoss: boolean({ default: false }),
  /** Train the assistant's last turn only: its messages after the user's last. Every row must have messages. Default false. */
  lastTurnOnlyLoss: boolean({ optional: true }),
  /** Longer sequences are cut. Default: the model's context, at most 1024. */
  maxLength: integer({ optional: true, min: 2 }),
  /** Which end of a long sequence is kept. Default `keep_start`. */
  truncationMode: oneOf(['keep_start', 'keep_end'], { default: 'keep_start' }),
};

const REMARKS = { beta: 'It belongs to a preference loss or an objective: see dpo and trainPolicy of @posttrain/rl.' };

/** The declared options of `sft`. */
export const sftOptions = options('sft', shape, trlNames(shape, {}, REMARKS));

/** Options of `sft`. */
export interface SftOptions<A extends TrainableAdapter = TrainableAdapter>
  extends Omit<Given<typeof sftOptions>, 'adapter'> {
  /** What is trained, beside the frozen model. Left out: every weight of the model. */
  readonly adapter?: A;
}

/** The options with their defaults. */
export type SftSettings = Read<typeof sftOptions>;
