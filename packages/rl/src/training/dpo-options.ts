import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import type { Adapter } from '@posttrain/lm';
import { isRows, ROWS, type Rows, rowsHint, type TrainableAdapter, trainingShape, trlNames } from '@posttrain/training';
import type { TokenizedPair } from '../preference/preference-loss.js';
import type { PreferenceRow } from '../preference/preference-rows.js';
import { preferenceLosses } from '../preference/presets.js';
import type { TokenizedRanking } from '../preference/ranked-loss.js';
import type { RankedRow } from '../preference/ranked-rows.js';
import type { TokenizedCompletion, UnpairedRow } from '../preference/unpaired-rows.js';
import { hintOfName } from './hint-of-name.js';
import type { AnyPreferenceLoss } from './preference-data.js';
import { isPreferenceSource, type PreferenceSource } from './preference-source.js';

/** Rows of one kind, that which the loss takes. */
type PreferenceRows =
  | Rows<PreferenceRow | TokenizedPair>
  | Rows<UnpairedRow | TokenizedCompletion>
  | Rows<RankedRow | TokenizedRanking>;

const shape = {
  ...trainingShape,
  /**
   * `{ prompt?, chosen, rejected }`, texts or lists of messages; for losses over single completions `{ prompt, completion, label }`,
   * over rankings `{ prompt, completions, ranks }` or `scores`. Or a source that is asked anew in every step, as `onlinePairs`.
   */
  rows: custom<PreferenceRows | PreferenceSource>()(
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
        typeof value === 'function' ? 'Call it.' : hintOfName(value, 'preferenceLosses', preferenceLosses),
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
};

/** TRL's names for what is an option of a preference loss here. */
export const DPO_TRL_NAMES = { beta: 'loss', loss_type: 'loss', label_smoothing: 'loss' } as const;

const REMARKS = {
  beta: 'β belongs to the loss: loss: preferenceLosses.sigmoid({ beta: 0.1 }).',
  loss_type: 'The loss is a value: loss: preferenceLosses.sigmoid(), or one of your own.',
  label_smoothing: 'It would belong to the loss: give one of your own that has it.',
};

/** The declared options of `dpo`. */
export const dpoOptions = options('dpo', shape, trlNames(shape, DPO_TRL_NAMES, REMARKS));

/** Options of `dpo`. */
export interface DpoOptions<A extends TrainableAdapter = TrainableAdapter>
  extends Omit<Given<typeof dpoOptions>, 'adapter'> {
  /** What is trained, beside the frozen model. Left out: every weight of the model. */
  readonly adapter?: A;
}
