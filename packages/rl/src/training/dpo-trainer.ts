import { withParameters } from '@posttrain/lm';
import {
  adapterIdentity,
  createTrainer,
  planRates,
  RowOrder,
  type RunResult,
  rowsIdentity,
  runSteps,
  type TrainableAdapter,
  type Trainer,
  timed,
  trainingIdentity,
} from '@posttrain/training';
import { type DpoOptions, dpoOptions } from './dpo-options.js';
import { preferenceData, preferenceSettings } from './preference-data.js';
import { refuseDropout } from './refuse-dropout.js';

/** What `dpo` gives. */
export interface DpoResult<A extends TrainableAdapter = TrainableAdapter> extends RunResult {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer;
  /** The adapter with its trained parameters; undefined when the model itself was trained. */
  readonly adapter: A | undefined;
  /** Pairs left out because their prompt alone fills `maxLength`. */
  readonly dropped: number;
  /** Pairs left out because chosen and rejected are the same tokens, as far as `maxLength` reaches. */
  readonly identical: number;
}

/**
 * Trains on preferences with a loss of any kind: pairs (`{ prompt?, chosen, rejected }`) or single completions (`{ prompt,
 * completion, label }`), as the loss says. Where it compares with a reference, that one's log-probabilities are computed once,
 * before the first update; where it does not, none is run.
 *
 * @throws OptionError, PreferenceRowError, CheckpointError, RunLockedError, FileError; NonFiniteError before a bad update
 */
export const trainPreferences = <A extends TrainableAdapter = TrainableAdapter>(
  given: DpoOptions<A>,
): Promise<DpoResult<A>> => train('trainPreferences', given);

/**
 * Direct Preference Optimization, or another preference loss: `trainPreferences` under the name of its default loss.
 *
 * @throws OptionError, PreferenceRowError, CheckpointError, RunLockedError, FileError; NonFiniteError before a bad update
 */
export const dpo = <A extends TrainableAdapter = TrainableAdapter>(given: DpoOptions<A>): Promise<DpoResult<A>> =>
  train('dpo', given);

async function train<A extends TrainableAdapter>(where: string, given: DpoOptions<A>): Promise<DpoResult<A>> {
  const settings = dpoOptions.read(given);
  const { model, adapter, loss, epochs, batchSize, seed, reference, evaluationRows } = settings;
  refuseDropout(where, adapter);
  const prepared = preferenceSettings(where, settings, given.maxLength);
  const { rows, dropped, identical, ...data } = await preferenceData(where, 'rows', settings.rows, loss, prepared);
  const held = evaluationRows && (await preferenceData(where, 'evaluationRows', evaluationRows, loss, prepared));
  const trainer = await createTrainer(where, settings);
  const steps = Math.ceil((epochs * rows.length) / batchSize);
  const rateOf = planRates(where, settings, steps);
  const order = new RowOrder(rows.length, seed);
  const state = { numTokens: 0 };

  const step = async (index: number) => {
    const last = Math.min((index + 1) * batchSize, Math.ceil(epochs * rows.length));
    const chosen = Array.from({ length: last - index * batchSize }, (_, i) => order.at(index * batchSize + i));
    const rate = rateOf(index);
    const { gradNorm, ...result } = await data.update(trainer, chosen, rate);
    state.numTokens += result.tokens;
    const epoch = last / rows.length;
    const progress = { grad_norm: gradNorm, learning_rate: rate, epoch, num_tokens: state.numTokens };
    return { loss: result.loss, ...progress, ...result.metrics };
  };
  const result = await runSteps(
    {
      ...{ stage: loss.name, trainer, model, adapter, steps, state, step: timed(step) },
      evaluation: held?.evaluation(),
      settings: async () => ({
        ...trainingIdentity(where, dpoOptions.settings(given), settings),
        ...(await adapterIdentity('reference', reference)),
        // Tokenizer, chat template and maxLength are in it.
        ...rowsIdentity(rows),
      }),
    },
    settings,
  );
  const trained = given.adapter && withParameters(given.adapter, trainer.parameters);
  return { trainer, adapter: trained, ...result, dropped, identical };
}
