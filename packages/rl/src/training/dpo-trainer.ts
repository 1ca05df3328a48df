import { OptionError, PosttrainError } from '@posttrain/interfaces';
import { withParameters } from '@posttrain/lm';
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
import type { PreferenceData } from './preference-kind.js';
import { fixedReference, movingReference } from './reference-policy.js';
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
 * log-probabilities are computed once, before the first update (of rows that a source gives, and where the reference moves, in the
 * step that asks for them); where it does not, none is run.
 *
 * @throws OptionError, PreferenceRowError, CheckpointError, RunLockedError, FileError; NonFiniteError before a bad update;
 *   PosttrainError NO_UPDATES where the source left no step a row to train on
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
  const { model, adapter, loss, evaluationRows, referenceUpdate } = declared;
  refuseDropout(where, adapter);
  refuseIdleUpdate(where, declared);
  const moving = referenceUpdate && (await movingReference(where, declared, referenceUpdate));
  const begins = fixedReference(declared);
  const reference = moving ?? begins;
  const referenceMoves = moving !== undefined;
  const settings = preferenceSettings(where, { ...declared, reference, referenceMoves }, given.maxLength);
  const kind = preferenceKind(loss, settings);
  if (given.steps !== undefined && given.epochs !== undefined) {
    warn(settings, `${where}: steps ${given.steps} replaces epochs ${given.epochs}; give one of the two.`);
  }
  const feed = await preferenceFeed(where, kind, settings);
  const held = evaluationRows && (await preferenceData(where, 'evaluationRows', evaluationRows, kind, settings));
  const trainer = await createTrainer(where, settings);
  const { steps } = feed;
  const rateOf = planRates(where, settings, steps);
  const state: { numTokens: number; skipped: number; source?: unknown; numbers?: unknown } = {
    numTokens: 0,
    skipped: 0,
  };

  const step = async (index: number, signal: AbortSignal | undefined) => {
    const { data, indices, ...fed } = await feed.take(index, trainer, signal);
    const rate = rateOf(index);
    const updated = indices.length > 0 ? await data.update(trainer, indices, rate) : undefined;
    if (updated) await moving?.follow(trainer);
    else sayIdle(where, index, data, state.skipped++, settings);
    state.numTokens += updated?.tokens ?? 0;
    if (feed.state) state.source = await feed.state();
    const numbers = kind.state?.();
    if (numbers !== undefined) state.numbers = numbers;
    // What a source calls as the run does is the run's.
    const counted = feed.isSource ? { skipped_updates: state.skipped } : {};
    const progress = { ...fed.metrics, ...counted, learning_rate: rate, num_tokens: state.numTokens };
    if (!updated) return progress;
    return { ...progress, loss: updated.loss, grad_norm: updated.gradNorm, ...updated.metrics };
  };
  const result = await runSteps(
    {
      ...{ stage: loss.name, trainer, model, adapter, steps, state, step: timed(step) },
      ...(moving && { others: { reference: moving.trainer } }),
      async begin(firstStep) {
        if (firstStep === 0) return;
        await feed.load?.(state.source);
        kind.load?.(state.numbers);
      },
      evaluation: held?.evaluation(),
      settings: async () => ({
        ...trainingIdentity(where, dpoOptions.settings(given), settings),
        ...(await adapterIdentity('reference', begins.adapter)),
        // Tokenizer, chat template and maxLength are in it.
        ...feed.identity,
      }),
    },
    settings,
  );
  if (!result.stopped && trainer.step === 0) {
    const problem = `none of its ${steps} steps had a row to train on, so nothing was trained`;
    throw new PosttrainError('NO_UPDATES', `${where}: ${problem}; look at what its source of rows gives`);
  }
  const trained = given.adapter && withParameters(given.adapter, trainer.parameters);
  return { trainer, adapter: trained, ...result, dropped: feed.dropped, identical: feed.identical };
}

/** Warns of the first step that makes no update, and says why. */
function sayIdle(
  where: string,
  step: number,
  { dropped, identical }: PreferenceData,
  earlier: number,
  settings: Parameters<typeof warn>[0],
): void {
  if (earlier > 0) return;
  const left = [
    ...(identical > 0 ? [`${identical} are left out since nothing differs`] : []),
    ...(dropped > 0 ? [`${dropped} are left out since their prompt fills maxLength`] : []),
  ];
  const why = left.length > 0 ? `of its rows ${left.join(' and ')}` : 'its source gave no rows';
  warn(settings, `${where}, step ${step}: no update is made: ${why}. skipped_updates counts such steps.`);
}

/** A reference that nobody asks for need not move. @throws OptionError */
function refuseIdleUpdate(
  where: string,
  { loss, referenceUpdate }: Pick<DpoOptions, 'loss' | 'referenceUpdate'>,
): void {
  if (!referenceUpdate || !loss || loss.kind === 'unpaired' || loss.reference !== false) return;
  const problem = `referenceUpdate moves a reference, and the loss ${loss.name} has none; leave it out.`;
  throw new OptionError('INVALID_OPTION', where, 'referenceUpdate', problem);
}
