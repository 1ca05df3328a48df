import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import type { Adapter } from '@posttrain/lm';
import {
  isRows,
  ROWS,
  type RowSource,
  type Rows,
  rowsHint,
  type TrainableAdapter,
  trainingShape,
  trlNames,
  type UncheckedRows,
} from '@posttrain/training';
import type { AnyPreferenceLoss } from '../preference/lift-preference-loss.js';
import type { TokenizedPair } from '../preference/preference-loss.js';
import type { PreferenceRow } from '../preference/preference-rows.js';
import { preferenceLosses } from '../preference/presets.js';
import type { TokenizedRanking } from '../preference/ranked-loss.js';
import type { RankedRow } from '../preference/ranked-rows.js';
import { isReferenceUpdate, type ReferenceUpdate } from '../preference/reference-update.js';
import type { TokenizedCompletion, UnpairedRow } from '../preference/unpaired-rows.js';
import { hintOfName } from './hint-of-name.js';
import { isPreferenceSource, type PreferenceSource } from './preference-source.js';

/** Rows of one kind, that which the loss takes. */
type PreferenceRows =
  | Rows<PreferenceRow | TokenizedPair>
  | Rows<UnpairedRow | TokenizedCompletion>
  | Rows<RankedRow | TokenizedRanking>
  | UncheckedRows;

const shape = {
  ...trainingShape,
  /**
   * `{ prompt?, chosen, rejected }`, texts or lists of messages; for losses over single completions `{ prompt, completion, label }`,
   * over rankings `{ prompt, completions, ranks }` or `scores`. Or a source that is asked anew in every step, as `onlinePairs` or
   * `streamRows`.
   */
  rows: custom<PreferenceRows | PreferenceSource | RowSource<object>>()(
    `${ROWS}, or a source of preferences`,
    (value) => isRows(value) || isPreferenceSource(value),
    { decisive: false, hint: rowsHint },
  ),
  /** Held-out rows, of which evaluations give `eval_loss` and the other metrics. Default: none. */
  evaluationRows: custom<PreferenceRows>()(ROWS, isRows, {
    optional: true,
    decisive: false,
    hint: rowsHint,
  }),
  /** Default `preferenceLosses.sigmoid()`: DPO with β 0.1. */
  loss: custom<AnyPreferenceLoss>()(
    'a preference loss, such as preferenceLosses.sigmoid({ beta: 0.1 })',
    (value) => typeof value === 'object' && value !== null && 'compute' in value,
    {
      default: preferenceLosses.sigmoid(),
      hint: (value) =>
        Array.isArray(value)
          ? 'Of several: combinedLoss({ losses: [ … ], lossWeights: [ … ] }).'
          : typeof value === 'function'
            ? 'Call it.'
            : hintOfName(value, 'preferenceLosses', preferenceLosses),
    },
  ),
  /** Times every row is seen. Default 1; a fraction ends within an epoch. */
  epochs: number({ default: 1, above: 0 }),
  /** Updates; replaces `epochs`, with a warning where both are given. A source has no epochs, and needs it. */
  steps: integer({ optional: true, min: 1 }),
  /** Rows in an update. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Peak learning rate. Default 1e-6, which is for full fine-tuning; adapters want about 1e-5 and more. */
  learningRate: number({ default: 1e-6, min: 0 }),
  /** Most tokens of prompt and completion; more are cut off at the end. Default 1024, or the model's context if that is less. */
  maxLength: integer({ default: 1024, min: 2 }),
  /**
   * The policy to compare with. Default: the model with its adapter off; the adapter as it was made where its method changes the
   * base that training starts from (PiSSA).
   */
  reference: custom<Adapter>()(
    'an adapter',
    (value) => typeof value === 'object' && value !== null && 'hooks' in value,
    { optional: true, decisive: false },
  ),
  /**
   * How the reference moves with the policy: `trDpo()`. It then begins as the policy does, or as `reference` where that is an adapter
   * with the options of `adapter`, and is computed in every step. Default: it stays as it is.
   */
  referenceUpdate: custom<ReferenceUpdate>()(
    'a rule by which the reference moves, such as trDpo({ refModelSyncSteps: 512 })',
    isReferenceUpdate,
    { optional: true, hint: (value) => (typeof value === 'function' ? 'Call it.' : undefined) },
  ),
};

/** TRL's names for what is an option of a preference loss here, or of the source of online pairs. */
export const DPO_TRL_NAMES = {
  beta: 'loss',
  loss_type: 'loss',
  loss_weights: 'loss',
  label_smoothing: 'loss',
  discopop_tau: 'loss',
  rpo_alpha: 'loss',
  cpo_alpha: 'loss',
  simpo_gamma: 'loss',
  desirable_weight: 'loss',
  undesirable_weight: 'loss',
  use_weighting: 'loss',
  sync_ref_model: 'referenceUpdate',
  ref_model_mixup_alpha: 'referenceUpdate',
  ref_model_sync_steps: 'referenceUpdate',
  reward_funcs: 'rows',
  judge: 'rows',
  max_new_tokens: 'rows',
  missing_eos_penalty: 'rows',
} as const;

const ONLINE = 'It belongs to the source of pairs: rows: onlinePairs({ rows, rewards, maxCompletionLength: 64 }).';
const MOVES = 'It is a value: referenceUpdate: trDpo({ refModelMixupAlpha: 0.6, refModelSyncSteps: 512 }).';
const REMARKS = {
  beta: 'β belongs to the loss: loss: preferenceLosses.sigmoid({ beta: 0.1 }).',
  loss_type:
    'The loss is a value: loss: preferenceLosses.sigmoid(), or one of your own; of several, combinedLoss({ losses }).',
  loss_weights: 'They belong to combinedLoss({ losses, lossWeights }).',
  label_smoothing: 'It belongs to the loss: loss: preferenceLosses.robust({ labelSmoothing: 0.1 }).',
  discopop_tau: 'It belongs to the loss: loss: preferenceLosses.discopop({ tau: 0.05 }).',
  rpo_alpha: 'It belongs to the loss: loss: preferenceLosses.rpo({ rpoAlpha: 1 }).',
  cpo_alpha: 'It belongs to the loss: loss: preferenceLosses.cpo({ cpoAlpha: 1 }).',
  simpo_gamma: 'It belongs to the loss: loss: preferenceLosses.simpo({ gamma: 0.5 }).',
  use_weighting: 'It is a loss of its own: loss: preferenceLosses.wpo().',
  sync_ref_model: MOVES,
  ref_model_mixup_alpha: MOVES,
  ref_model_sync_steps: MOVES,
  reward_funcs: ONLINE,
  judge: ONLINE,
  max_new_tokens: ONLINE,
  missing_eos_penalty: ONLINE,
};

/** The declared options of `dpo`. */
export const dpoOptions = options('dpo', shape, trlNames(shape, DPO_TRL_NAMES, REMARKS));

/** Options of `dpo`. */
export interface DpoOptions<A extends TrainableAdapter = TrainableAdapter>
  extends Omit<Given<typeof dpoOptions>, 'adapter'> {
  /** What is trained, beside the frozen model. Left out: every weight of the model. */
  readonly adapter?: A;
}
