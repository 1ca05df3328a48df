import { NO_ADAPTER, withParameters } from '@posttrain/lm';
import {
  adapterIdentity,
  createTrainer,
  planRates,
  type RunResult,
  runSteps,
  type TrainableAdapter,
  type Trainer,
  timed,
  trainingIdentity,
  warn,
} from '@posttrain/training';
import { type DpoOptions, dpoOptions } from './dpo-options.js';
import { preferenceData, preferenceKind, preferenceSettings } from './preference-data.js';
import { preferenceFeed } from './preference-feed.js';
import { refuseDropout } from './refuse-dropout.js';

/** What `dpo` gives. */
export interface DpoResult<A extends TrainableAdapter = TrainableAdapter> extends RunResult {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer;
  /** The adapter with its trained parameters; undefined when the model itself was trained. */
  readonly adapter: A | undefined;
  /** Rows left out because their prompt alone fills `maxLength`; 0 for a source. */
  readonly dropped: number;
  /** Rows left out because there is nothing to prefer: their completions are the same tokens, as far as `maxLength` reaches. */
  readonly identical: number;
}

/**
 * Trains on preferences with a loss of any kind: pairs (`{ prompt?, chosen, rejected }`), single completions (`{ prompt, completion,
 * label }`) or rankings (`{ prompt, completions, ranks }`), as the loss says. Where it compares with a reference, that one's
 * log-probabilities are computed once, before the first update (of rows that a source gives, in the step that asks for them); where
 * it does not, none is run.
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
  const declared = dpoOptions.read(given);
  const { model, adapter, loss, evaluationRows } = declared;
  refuseDropout(where, adapter);
  const reference = declared.reference ?? adapter?.reference ?? NO_ADAPTER;
  const settings = preferenceSettings(where, { ...declared, reference }, given.maxLength);
  const kind = preferenceKind(loss, settings);
  if (given.steps !== undefined && given.epochs !== undefined) {
    warn(settings, `${where}: steps ${given.steps} replaces epochs ${given.epochs}; give one of the two.`);
  }
  const feed = await preferenceFeed(where, kind, settings);
  const held = evaluationRows && (await preferenceData(where, 'evaluationRows', evaluationRows, kind, settings));
  const trainer = await createTrainer(where, settings);
  const { steps } = feed;
  const rateOf = planRates(where, settings, steps);
  const state: { numTokens: number; source?: unknown } = { numTokens: 0 };

  const step = async (index: number, signal: AbortSignal | undefined) => {
    const { data, indices, ...fed } = await feed.take(index, trainer, signal);
    const rate = rateOf(index);
    const updated = indices.length > 0 ? await data.update(trainer, indices, rate) : undefined;
    state.numTokens += updated?.tokens ?? 0;
    if (feed.state) state.source = await feed.state();
    // What a source calls as the run does is the run's.
    const progress = { ...fed.metrics, learning_rate: rate, num_tokens: state.numTokens };
    if (!updated) return progress;
    return { ...progress, loss: updated.loss, grad_norm: updated.gradNorm, ...updated.metrics };
  };
  const result = await runSteps(
    {
      ...{ stage: loss.name, trainer, model, adapter, steps, state, step: timed(step) },
      begin: async (firstStep) => (firstStep > 0 ? feed.load?.(state.source) : undefined),
      evaluation: held?.evaluation(),
      settings: async () => ({
        ...trainingIdentity(where, dpoOptions.settings(given), settings),
        ...(await adapterIdentity('reference', reference)),
        // Tokenizer, chat template and maxLength are in it.
        ...feed.identity,
      }),
    },
    settings,
  );
  const trained = given.adapter && withParameters(given.adapter, trainer.parameters);
  return { trainer, adapter: trained, ...result, dropped: feed.dropped, identical: feed.identical };
}
