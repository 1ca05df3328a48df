import { OptionError, PosttrainError } from '@posttrain/interfaces';
import { contextOf, withParameters } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import { collectRows, type Rows } from '../run/collect-rows.js';
import { type EvaluationOnRows, lossOnRows } from '../run/evaluation.js';
import { rowsIdentity } from '../run/identity.js';
import { RowOrder } from '../run/row-order.js';
import { warn } from '../run/run-options.js';
import { type RunResult, runSteps } from '../run/run-steps.js';
import { timed } from '../run/timed.js';
import { createTrainer, planRates, trainingIdentity } from '../run/training-options.js';
import { update } from '../run/update.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';
import type { RewardPairRow } from './bradley-terry.js';
import { type RewardExample, type RewardModel, type RewardModelLoss, rewardExampleRows } from './reward-model-loss.js';
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
  const { model, adapter, loss, epochs, batchSize, seed, evaluationRows } = settings;
  const prepared = { ...settings, maxLength: lengthOf(settings, given.maxLength) };
  const { examples, dropped } = await examplesOf('rows', settings.rows, prepared);
  const held = evaluationRows && (await examplesOf('evaluationRows', evaluationRows, prepared));
  const trainer = await createTrainer(WHERE, settings);
  const seen = Math.ceil(epochs * examples.length);
  const steps = Math.ceil(seen / batchSize);
  const rateOf = planRates(WHERE, settings, steps);
  const order = new RowOrder(examples.length, seed);
  const state = { numTokens: 0 };

  const step = async (index: number) => {
    const last = Math.min((index + 1) * batchSize, seen);
    const first = index * batchSize;
    const batch = Array.from({ length: last - first }, (_, i) => examples[order.at(first + i)]!);
    const rate = rateOf(index);
    const { gradNorm, ...result } = await update(
      trainer,
      await annotated(trainer, loss, rewardExampleRows(batch)),
      loss,
      rate,
    );
    state.numTokens += result.tokens;
    const epoch = last / examples.length;
    const progress = { grad_norm: gradNorm, learning_rate: rate, epoch, num_tokens: state.numTokens };
    return { loss: result.loss, ...progress, ...result.metrics };
  };
  const result = await runSteps(
    {
      ...{ stage: `reward model (${loss.name})`, trainer, model, adapter, steps, state, step: timed(step) },
      evaluation: held && evaluationOf(rewardExampleRows(held.examples), loss),
      settings: () => ({
        ...trainingIdentity(WHERE, rewardModelOptions.settings(declared), settings),
        // Tokenizer, chat template and maxLength are in it.
        ...rowsIdentity(examples),
      }),
    },
    settings,
  );
  const trained = given.adapter && withParameters(given.adapter, trainer.parameters);
  return { trainer: trainer as unknown as Trainer<M>, adapter: trained, ...result, dropped };
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

/** The rows that teach something. Says what is left out, and why. */
async function examplesOf(
  option: 'rows' | 'evaluationRows',
  given: Rows<object>,
  settings: Settings,
): Promise<{ readonly examples: readonly RewardExample[]; readonly dropped: number }> {
  const { model, loss, maxLength } = settings;
  const { rows } = await collectRows(WHERE, given, settings, option);
  const examples: RewardExample[] = [];
  const reasons = new Map<string, number>();
  rows.forEach((row, index) => {
    const example = loss.example(model, row, { index, maxLength, isHeldOut: option === 'evaluationRows' });
    if (typeof example === 'string') reasons.set(example, (reasons.get(example) ?? 0) + 1);
    else examples.push(example);
  });
  const said = [...reasons].map(([reason, count]) => `${count} of ${rows.length} ${option} ${reason}`);
  if (examples.length === 0)
    throw new PosttrainError('REWARD_ROWS', `${WHERE}: no ${option} are left: ${said.join('; ')}`);
  for (const one of said) warn(settings, `${WHERE}: left out: ${one}`);
  return { examples, dropped: rows.length - examples.length };
}
