import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER } from '@posttrain/lm';
import { isRows, ROWS, type Rows, rowsHint, type TrainableAdapter, trainingShape, trlNames } from '@posttrain/training';
import type { PreferenceRow } from '../preference/preference-rows.js';
import { preferenceLosses } from '../preference/presets.js';
import type { UnpairedRow } from '../preference/unpaired-rows.js';
import { hintOfName } from './hint-of-name.js';
import type { AnyPreferenceLoss } from './preference-data.js';

const shape = {
  ...trainingShape,
  /** `{ prompt?, chosen, rejected }`, texts or lists of messages; for losses over single completions `{ prompt, completion, label }`. */
  rows: custom<Rows<PreferenceRow> | Rows<UnpairedRow>>()(ROWS, isRows, { decisive: false, hint: rowsHint }),
  /** Held-out pairs, of which evaluations give `eval_loss` and the other metrics. Default: none. */
  evaluationRows: custom<Rows<PreferenceRow> | Rows<UnpairedRow>>()(ROWS, isRows, {
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
  /** Times every pair is seen. Default 1; a fraction ends within an epoch. */
  epochs: number({ default: 1, above: 0 }),
  /** Pairs in an update. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Peak learning rate. Default 1e-6, which is for full fine-tuning; adapters want about 1e-5 and more. */
  learningRate: number({ default: 1e-6, min: 0 }),
  /** Most tokens of prompt and completion; more are cut off at the end. Default 1024, or the model's context if that is less. */
  maxLength: integer({ default: 1024, min: 2 }),
  /** The policy to compare with. Default: the model with its adapter off. */
  reference: custom<Adapter>()(
    'an adapter',
    (value) => typeof value === 'object' && value !== null && 'hooks' in value,
    { default: NO_ADAPTER as Adapter, decisive: false },
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
