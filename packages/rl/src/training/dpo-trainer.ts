import { custom, type Given, integer, number, OptionError, options, type Read } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER, withParameters } from '@posttrain/lm';
import {
  adapterIdentity,
  createTrainer,
  isRows,
  planRates,
  ROWS,
  RowOrder,
  type Rows,
  type RunResult,
  rowsHint,
  rowsIdentity,
  runSteps,
  type TrainableAdapter,
  type Trainer,
  timed,
  trainingIdentity,
  trainingShape,
  trlNames,
} from '@posttrain/training';
import type { PreferenceRow } from '../preference/preference-rows.js';
import { preferenceLosses } from '../preference/presets.js';
import type { UnpairedRow } from '../preference/unpaired-rows.js';
import { hintOfName } from './hint-of-name.js';
import { type AnyPreferenceLoss, preferenceData } from './preference-data.js';
import { refuseDropout } from './refuse-dropout.js';

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

export const dpoOptions = options('dpo', shape, trlNames(shape, DPO_TRL_NAMES, REMARKS));

/** Options of `dpo`. */
export interface DpoOptions<A extends TrainableAdapter = TrainableAdapter>
  extends Omit<Given<typeof dpoOptions>, 'adapter'> {
  /** What is trained, beside the frozen model. Left out: every weight of the model. */
  readonly adapter?: A;
}

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
  const maxLength = maxLengthOf(where, given.maxLength, settings);
  refuseDropout(where, adapter);
  const { rows, dropped, identical, ...data } = await preferenceData(where, 'rows', settings.rows, loss, {
    ...settings,
    maxLength,
  });
  const held =
    evaluationRows && (await preferenceData(where, 'evaluationRows', evaluationRows, loss, { ...settings, maxLength }));
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

/** What is longer than the context can neither be scored nor trained. */
function maxLengthOf(where: string, given: number | undefined, { maxLength, model }: Read<typeof dpoOptions>): number {
  const { maxPositionEmbeddings: context } = model.config;
  if (given === undefined) return Math.min(maxLength, context);
  if (given <= context) return given;
  const problem = `maxLength is ${given}; the context of ${model.name} holds ${context} tokens.`;
  throw new OptionError('INVALID_OPTION', where, 'maxLength', problem);
}
