import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import { isRows, ROWS, type Rows, rowsHint } from '../run/collect-rows.js';
import { isRowSource, type RowSource } from '../run/row-source.js';
import { hookShape, type RunOptions } from '../run/run-options.js';
import { trainingShape } from '../run/training-options.js';
import { trlNames } from '../run/trl-names.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import { bradleyTerry, type RewardPairRow } from './bradley-terry.js';
import type { RewardModel, RewardModelLoss } from './reward-model-loss.js';

const shape = {
  ...trainingShape,
  ...hookShape<RewardModel>(),
  /** What is trained, or what its adapter is trained beside: a model with a head. */
  model: custom<RewardModel>()(
    'a model with a head (SequenceClassifier.load(folder) reads one, SequenceClassifier.fromCausalLM(model) makes one)',
    (value) => typeof value === 'object' && value !== null && 'labels' in value && 'network' in value,
    { decisive: false },
  ),
  /**
   * What the loss is for: pairs `{ prompt?, chosen, rejected, margin? }` for Bradley and Terry's, in texts or lists
   * of messages. Or a source of such rows, which is asked for those of every update and needs `steps`.
   */
  rows: custom<Rows<object> | RowSource<object>>()(
    `${ROWS}, or a source of rows`,
    (value) => isRows(value) || isRowSource(value),
    { decisive: false, hint: rowsHint },
  ),
  /** Held-out rows, of which evaluations give `eval_loss`, `eval_accuracy` and the other metrics. Default: none. */
  evaluationRows: custom<Rows<object>>()(ROWS, isRows, { optional: true, decisive: false, hint: rowsHint }),
  /** Default `rewardModelLosses.bradleyTerry()`. */
  loss: custom<RewardModelLoss>()(
    'a loss of reward models, such as rewardModelLosses.bradleyTerry({ centerRewardsCoefficient: 0.01 })',
    (value) => typeof value === 'object' && value !== null && 'example' in value && 'computeFrom' in value,
    {
      default: bradleyTerry() as RewardModelLoss<object>,
      hint: (value) => (typeof value === 'function' ? 'Call it.' : undefined),
    },
  ),
  /** Times every row is seen. Default 1; a fraction ends within an epoch. */
  epochs: number({ default: 1, above: 0 }),
  /** Updates; replaces `epochs`, with a warning where both are given. A source has no epochs, and needs it. */
  steps: integer({ optional: true, min: 1 }),
  /** Pairs, or other rows of data, in an update. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Peak learning rate. Default 1e-4, as in TRL, which suits adapters; whole models want about a tenth. */
  learningRate: number({ default: 1e-4, min: 0 }),
  /**
   * Most tokens of prompt and completion; what is longer is left out. Default 1024, or the model's context if that is
   * less.
   */
  maxLength: integer({ default: 1024, min: 2 }),
};

/** TRL's names for what is an option of a loss of reward models here. */
export const REWARD_MODEL_TRL_NAMES = {
  ...{ center_rewards_coefficient: 'loss', step_separator: 'loss', train_on_last_step_only: 'loss' },
  max_completion_length: 'loss',
} as const;

const OF_PROCESS =
  'It belongs to the loss: rewardModelLosses.process({ stepSeparator, trainOnLastStepOnly, maxCompletionLength }).';
const REMARKS = {
  center_rewards_coefficient:
    'η belongs to the loss: rewardModelLosses.bradleyTerry({ centerRewardsCoefficient: 0.01 }).',
  ...{ step_separator: OF_PROCESS, train_on_last_step_only: OF_PROCESS, max_completion_length: OF_PROCESS },
};

/** The declared options of `trainRewardModel`. */
export const rewardModelOptions = options('trainRewardModel', shape, trlNames(shape, REWARD_MODEL_TRL_NAMES, REMARKS));

type Declared = Given<typeof rewardModelOptions>;
type Retyped = 'model' | 'adapter' | 'rows' | 'evaluationRows' | 'loss' | keyof RunOptions;

/** Options of `trainRewardModel`. */
export type RewardModelOptions<
  Row extends object = RewardPairRow,
  M extends RewardModel = RewardModel,
  A extends TrainableAdapter = TrainableAdapter,
> = Omit<Declared, Retyped> &
  RunOptions<M> & {
    /** A `SequenceClassifier`, or for process rewards a `TokenClassifier`. */
    readonly model: M;
    /** What is trained, beside the frozen model; the head too. Left out: every weight of the model. */
    readonly adapter?: A;
    /** What the loss is for; a source is asked for those of every update, and needs `steps`. */
    readonly rows: Rows<Row> | RowSource<Row>;
    /** Held-out rows. Default: none. */
    readonly evaluationRows?: Rows<Row>;
    /** Default `rewardModelLosses.bradleyTerry()`, over pairs. */
    readonly loss?: RewardModelLoss<Row>;
  };
