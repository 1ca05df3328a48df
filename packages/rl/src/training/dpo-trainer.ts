import {
  custom,
  type Given,
  integer,
  number,
  OptionError,
  options,
  PosttrainError,
  type Read,
} from '@posttrain/interfaces';
import { type Adapter, type CausalLM, NO_ADAPTER, sequenceLogProbs, withParameters } from '@posttrain/lm';
import {
  adapterIdentity,
  collectRows,
  createTrainer,
  isRows,
  lossOnRows,
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
  update,
  warn,
} from '@posttrain/training';
import {
  annotatePairs,
  type PairReference,
  type PreferenceLoss,
  preferenceTokenLoss,
  type TokenizedPair,
} from '../preference/preference-loss.js';
import { type PreferenceRow, tokenizePair } from '../preference/preference-rows.js';
import { preferenceLosses } from '../preference/presets.js';
import { hintOfName } from './hint-of-name.js';
import { refuseDropout } from './refuse-dropout.js';

const shape = {
  ...trainingShape,
  /** `{ prompt?, chosen, rejected }`, texts or lists of messages. */
  rows: custom<Rows<PreferenceRow>>()(ROWS, isRows, { decisive: false, hint: rowsHint }),
  /** Held-out pairs, of which evaluations give `eval_loss` and the other metrics. Default: none. */
  evaluationRows: custom<Rows<PreferenceRow>>()(ROWS, isRows, { optional: true, decisive: false, hint: rowsHint }),
  /** Default `preferenceLosses.sigmoid()`: DPO with β 0.1. */
  loss: custom<PreferenceLoss>()(
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
 * Direct Preference Optimization, or another preference loss, over pairs of completions. The reference's log-probabilities
 * are computed once, before the first update.
 *
 * @throws OptionError, PreferenceRowError, CheckpointError, RunLockedError, FileError; NonFiniteError before a bad update
 */
export async function dpo<A extends TrainableAdapter = TrainableAdapter>(given: DpoOptions<A>): Promise<DpoResult<A>> {
  const settings = dpoOptions.read(given);
  const { model, adapter, loss, epochs, batchSize, seed, reference, evaluationRows } = settings;
  const maxLength = maxLengthOf(given.maxLength, settings);
  refuseDropout('dpo', adapter);
  const { pairs, ...left } = await preferencePairs('rows', settings.rows, settings, maxLength);
  const held = evaluationRows && (await preferencePairs('evaluationRows', evaluationRows, settings, maxLength)).pairs;
  const tokenLoss = preferenceTokenLoss(loss);
  const trainer = await createTrainer('dpo', settings);
  const steps = Math.ceil((epochs * pairs.length) / batchSize);
  const rateOf = planRates('dpo', settings, steps);
  const order = new RowOrder(pairs.length, seed);
  const state = { numTokens: 0 };

  const step = async (index: number) => {
    const last = Math.min((index + 1) * batchSize, Math.ceil(epochs * pairs.length));
    const chosen = Array.from({ length: last - index * batchSize }, (_, i) => order.at(index * batchSize + i));
    const batch = annotatePairs(chosen.map((i) => pairs[i]!));
    const rate = rateOf(index);
    const { gradNorm, ...result } = await update(trainer, batch, tokenLoss, rate);
    state.numTokens += result.tokens;
    const epoch = last / pairs.length;
    const progress = { grad_norm: gradNorm, learning_rate: rate, epoch, num_tokens: state.numTokens };
    return { loss: result.loss, ...progress, ...result.metrics };
  };
  const result = await runSteps(
    {
      ...{ stage: loss.name, trainer, model, adapter, steps, state, step: timed(step) },
      evaluation: held && lossOnRows(annotatePairs(held), tokenLoss),
      settings: async () => ({
        ...trainingIdentity('dpo', dpoOptions.settings(given), settings),
        ...(await adapterIdentity('reference', reference)),
        // Tokenizer, chat template and maxLength are in it.
        ...rowsIdentity(pairs.map(({ reference: _, ...pair }) => pair)),
      }),
    },
    settings,
  );
  const trained = given.adapter && withParameters(given.adapter, trainer.parameters);
  return { trainer, adapter: trained, ...result, ...left };
}

type ReferredPair = TokenizedPair & { readonly reference: PairReference };

/** The pairs of rows that teach something, with what the reference thinks of them. Says what is left out. */
async function preferencePairs(
  option: 'rows' | 'evaluationRows',
  given: Rows<PreferenceRow>,
  settings: Read<typeof dpoOptions>,
  maxLength: number,
): Promise<{ readonly pairs: ReferredPair[]; readonly dropped: number; readonly identical: number }> {
  const { model, reference, maxTokensPerPass } = settings;
  const { rows } = await collectRows('dpo', given, settings, option);
  const fitting = rows.flatMap((row, i) => tokenizePair(model, row, i, maxLength) ?? []);
  const dropped = rows.length - fitting.length;
  // Their gradient is zero but for rounding, of which Adam would make updates of full size.
  const pairs = fitting.filter(({ chosenTokens, rejectedTokens }) => String(chosenTokens) !== String(rejectedTokens));
  const identical = fitting.length - pairs.length;
  if (pairs.length === 0) {
    throw new PosttrainError(
      'DPO',
      `dpo: none of ${rows.length} ${option} has a prompt shorter than maxLength ${maxLength} and two completions that differ before it`,
    );
  }
  const say = (count: number, why: string) => {
    const what = option === 'rows' ? 'pairs' : `pairs of ${option}`;
    if (count > 0) warn(settings, `dpo: ${count} of ${rows.length} ${what} are left out: ${why}`);
  };
  say(identical, `nothing differs within maxLength ${maxLength}`);
  say(dropped, 'their prompt fills maxLength');
  const references = await referencesOf(model, pairs, reference, maxTokensPerPass);
  return { pairs: pairs.map((pair, i) => ({ ...pair, reference: references[i]! })), dropped, identical };
}

/** What is longer than the context can neither be scored nor trained. */
function maxLengthOf(given: number | undefined, { maxLength, model }: Read<typeof dpoOptions>): number {
  const { maxPositionEmbeddings: context } = model.config;
  if (given === undefined) return Math.min(maxLength, context);
  if (given <= context) return given;
  const problem = `maxLength is ${given}; the context of ${model.name} holds ${context} tokens.`;
  throw new OptionError('INVALID_OPTION', 'dpo', 'maxLength', problem);
}

async function referencesOf(
  model: CausalLM,
  pairs: readonly TokenizedPair[],
  adapter: Adapter,
  maxTokensPerPass: number,
): Promise<PairReference[]> {
  const sequences = pairs.flatMap(({ promptTokens, chosenTokens, rejectedTokens }) => [
    [...promptTokens, ...chosenTokens],
    [...promptTokens, ...rejectedTokens],
  ]);
  const scored = await sequenceLogProbs(model, sequences, { adapter, maxTokensPerPass });
  return pairs.map(({ promptTokens }, i) => {
    const [chosen, rejected] = [scored[2 * i]!, scored[2 * i + 1]!].map((s) =>
      s.logProbs.subarray(promptTokens.length - 1),
    );
    return { chosen: chosen!, rejected: rejected! };
  });
}
