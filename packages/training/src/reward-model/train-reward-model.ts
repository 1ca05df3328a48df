import { OptionError } from '@posttrain/interfaces';
import { contextOf, withParameters } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import { type EvaluationOnRows, lossOnRows } from '../run/evaluation.js';
import { warn } from '../run/run-options.js';
import { type RunResult, runSteps } from '../run/run-steps.js';
import { copyState } from '../run/stored-state.js';
import { timed } from '../run/timed.js';
import { createTrainer, planRates, trainingIdentity } from '../run/training-options.js';
import { update } from '../run/update.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';
import type { RewardPairRow } from './bradley-terry.js';
import { examplesOf, rewardFeedOf } from './reward-feed.js';
import { type RewardModel, type RewardModelLoss, rewardExampleRows } from './reward-model-loss.js';
import { type RewardModelOptions, rewardModelOptions } from './reward-model-options.js';

/** What `trainRewardModel` gives. */
export interface RewardModelResult<M extends RewardModel = RewardModel, A extends TrainableAdapter = TrainableAdapter>
  extends RunResult {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer<M>;
  /** The adapter with its trained parameters; undefined when the model itself was trained. */
  readonly adapter: A | undefined;
  /** Rows left out: too long, or with nothing to learn. */
  readonly dropped: number;
}

const WHERE = 'trainRewardModel';
const SOURCE_STATE = 'the state of the source of rows';

/**
 * Trains a reward model: of Bradley and Terry on pairs, or with another loss of `rewardModelLosses` on outcomes or on
 * steps. TRL's RewardTrainer, and its PRMTrainer. `trainer.model.verifier()` of what it gives is a reward, a grader
 * and a verifier.
 *
 * @throws OptionError, RewardRowError, CheckpointError, RunLockedError, FileError; NonFiniteError before a bad update
 */
export async function trainRewardModel<
  M extends RewardModel,
  Row extends object = RewardPairRow,
  A extends TrainableAdapter = TrainableAdapter,
>(given: RewardModelOptions<Row, M, A>): Promise<RewardModelResult<M, A>> {
  // The rows are the loss's, and the hooks the model's, whatever their types.
  const declared = given as unknown as Parameters<typeof rewardModelOptions.read>[0];
  const settings = rewardModelOptions.read(declared);
  const { model, adapter, loss, evaluationRows } = settings;
  if (given.steps !== undefined && given.epochs !== undefined) {
    warn(settings, `${WHERE}: steps ${given.steps} replaces epochs ${given.epochs}; give one of the two.`);
  }
  const prepared = { ...settings, maxLength: lengthOf(settings, given.maxLength) };
  const feed = await rewardFeedOf(WHERE, settings.rows, prepared);
  const held = evaluationRows && (await examplesOf(WHERE, 'evaluationRows', evaluationRows, prepared));
  const trainer = await createTrainer(WHERE, settings);
  const { steps } = feed;
  const rateOf = planRates(WHERE, settings, steps);
  const state: { numTokens: number; source?: unknown } = { numTokens: 0 };

  const step = async (index: number) => {
    const { examples, epoch } = await feed.take(index);
    const rate = rateOf(index);
    const { gradNorm, ...result } = await update(
      trainer,
      await annotated(trainer, loss, rewardExampleRows(examples)),
      loss,
      rate,
    );
    state.numTokens += result.tokens;
    if (feed.state) state.source = await copyState(await feed.state(), SOURCE_STATE);
    const progress = { grad_norm: gradNorm, learning_rate: rate, num_tokens: state.numTokens };
    return { loss: result.loss, ...progress, ...(epoch !== undefined && { epoch }), ...result.metrics };
  };
  const result = await runSteps(
    {
      ...{ stage: `reward model (${loss.name})`, trainer, model, adapter, steps, state, step: timed(step) },
      evaluation: held && evaluationOf(rewardExampleRows(held.examples), loss),
      async begin(firstStep) {
        if (firstStep > 0) await feed.load?.(await copyState(state.source, SOURCE_STATE));
      },
      settings: () => ({
        ...trainingIdentity(WHERE, rewardModelOptions.settings(declared), settings),
        // Tokenizer, chat template and maxLength are in it.
        ...feed.identity,
      }),
    },
    settings,
  );
  const trained = given.adapter && withParameters(given.adapter, trainer.parameters);
  return { trainer: trainer as unknown as Trainer<M>, adapter: trained, ...result, dropped: feed.dropped };
}

/** Rows as the loss has them, whatever couples them. */
const annotated = async <M extends RewardModel>(
  trainer: Trainer<M>,
  { annotate, groupSize = 1 }: RewardModelLoss,
  rows: readonly TrainingRow[],
): Promise<readonly TrainingRow[]> =>
  annotate ? annotate(rows, (readout) => trainer.read(rows, readout, { groupSize })) : rows;

const evaluationOf = (rows: readonly TrainingRow[], loss: RewardModelLoss): EvaluationOnRows<RewardModel> => ({
  digest: lossOnRows(rows, loss).digest,
  measure: async (trainer, signal) => lossOnRows(await annotated(trainer, loss, rows), loss).measure(trainer, signal),
});

type Settings = ReturnType<typeof rewardModelOptions.read>;

/** @throws OptionError for a length that was asked for and is longer than the context */
function lengthOf({ model, adapter, maxLength }: Settings, given: number | undefined): number {
  const context = contextOf(model.config, adapter);
  if (given === undefined || given <= context) return Math.min(maxLength, context);
  const problem = `maxLength is ${given}; the context of ${model.name} holds ${context} tokens.`;
  throw new OptionError('INVALID_OPTION', WHERE, 'maxLength', problem);
}
