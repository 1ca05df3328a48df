import { type AdamWState, adamW, type Optimizer, type ScheduleName, scheduleByName } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, NO_ADAPTER, sequenceLogProbs, withParameters } from '@posttrain/lm';
import {
  RowOrder,
  RUN_OPTIONS,
  type RunOptions,
  runIdentity,
  runSteps,
  type StepMetrics,
  type TrainableAdapter,
  Trainer,
  warn,
} from '@posttrain/training';
import { positiveInteger } from '../positive-integer.js';
import { preferenceLosses } from '../preference/dpo.js';
import {
  annotatePairs,
  type PairReference,
  type PreferenceLoss,
  preferenceTokenLoss,
  type TokenizedPair,
} from '../preference/preference-loss.js';
import { type PreferenceRow, tokenizePair } from '../preference/preference-rows.js';
import { refuseDropout } from './refuse-dropout.js';

export interface DpoOptions<State extends object, A extends TrainableAdapter = TrainableAdapter> extends RunOptions {
  readonly model: CausalLM;
  /** What is trained, beside the frozen model. Left out: every weight of the model. */
  readonly adapter?: A;
  readonly rows: readonly PreferenceRow[];
  /** Default `preferenceLosses.sigmoid()`: DPO with β 0.1. */
  readonly loss?: PreferenceLoss;
  /** Times every pair is seen. Default 1; a fraction ends within an epoch. */
  readonly epochs?: number;
  /** Pairs in an update. Default 8. */
  readonly batchSize?: number;
  /** Peak learning rate. Default 1e-6, which is for full fine-tuning; adapters want about 1e-5 and more. */
  readonly learningRate?: number;
  /** Default `linear`. */
  readonly schedule?: ScheduleName;
  /** Updates over which the rate rises. Default 0. */
  readonly warmupSteps?: number;
  /** Default: AdamW without weight decay. */
  readonly optimizer?: Optimizer<State>;
  /** Gradients are scaled down to this norm; 0: never. Default 1. */
  readonly maxGradNorm?: number;
  /** Most tokens of prompt and completion; more are cut off at the end. Default 1024. */
  readonly maxLength?: number;
  /** The policy to compare with. Default: the model with its adapter off. */
  readonly reference?: Adapter;
  /** Default 42. */
  readonly seed?: number;
  /** Memory only: most tokens in one pass. Default 4096. */
  readonly maxTokensPerPass?: number;
}

const OPTIONS: readonly (keyof DpoOptions<object>)[] = [
  ...RUN_OPTIONS,
  ...(['model', 'adapter', 'rows', 'loss', 'epochs', 'batchSize', 'learningRate', 'schedule'] as const),
  ...(['warmupSteps', 'optimizer', 'maxGradNorm', 'maxLength', 'reference', 'seed', 'maxTokensPerPass'] as const),
];

export interface DpoResult<A extends TrainableAdapter = TrainableAdapter> {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer;
  /** The adapter with its trained parameters; undefined when the model itself was trained. */
  readonly adapter: A | undefined;
  readonly history: readonly StepMetrics[];
  /** Pairs left out because their prompt alone fills `maxLength`. */
  readonly dropped: number;
  /** Pairs left out because chosen and rejected are the same tokens, as far as `maxLength` reaches. */
  readonly identical: number;
}

/**
 * Direct Preference Optimization, or another preference loss, over pairs of completions. The reference's log-probabilities
 * are computed once, before the first update.
 *
 * @throws PreferenceRowError, PosttrainError for options that make no sense, NonFiniteError before a bad update
 */
export async function dpo<State extends object = AdamWState, A extends TrainableAdapter = TrainableAdapter>(
  options: DpoOptions<State, A>,
): Promise<DpoResult<A>> {
  assertKnownOptions('dpo', options, OPTIONS);
  const { model, adapter, rows, loss = preferenceLosses.sigmoid(), epochs = 1, learningRate = 1e-6 } = options;
  const { batchSize = 8, maxLength = 1024, seed = 42, maxTokensPerPass = 4096 } = options;
  refuseDropout('dpo', adapter);
  positiveInteger('dpo: batchSize', batchSize);
  positiveInteger('dpo: maxLength', maxLength);
  const fitting = rows.flatMap((row, i) => tokenizePair(model, row, i, maxLength) ?? []);
  const dropped = rows.length - fitting.length;
  // Their gradient is zero but for rounding, of which Adam would make updates of full size.
  const pairs = fitting.filter(({ chosenTokens, rejectedTokens }) => String(chosenTokens) !== String(rejectedTokens));
  const identical = fitting.length - pairs.length;
  if (pairs.length === 0) {
    throw new PosttrainError(
      'DPO',
      `dpo: none of ${rows.length} rows has a prompt shorter than maxLength ${maxLength} and two completions that differ before it`,
    );
  }
  if (identical > 0)
    warn(
      options,
      `dpo: ${identical} of ${rows.length} pairs are left out: nothing differs within maxLength ${maxLength}`,
    );
  if (dropped > 0) warn(options, `dpo: ${dropped} of ${rows.length} pairs are left out: their prompt fills maxLength`);
  const references = await referencesOf(model, pairs, options.reference ?? NO_ADAPTER, maxTokensPerPass);

  const trainer = await Trainer.create(model, {
    optimizer: (options.optimizer ?? adamW()) as unknown as Optimizer<object>,
    maxTokensPerPass,
    ...(adapter ? { adapter } : {}),
    ...(options.maxGradNorm === undefined ? {} : { maxGradNorm: options.maxGradNorm }),
  });
  const steps = positiveInteger('dpo: the number of steps', Math.ceil((epochs * pairs.length) / batchSize));
  const { schedule: name = 'linear', warmupSteps = 0 } = options;
  const schedule = scheduleByName(name, { totalSteps: steps, warmupSteps });
  const order = new RowOrder(pairs.length, seed);
  const tokenLoss = preferenceTokenLoss(loss);
  const state = { numTokens: 0 };
  const settings = {
    epochs,
    batchSize,
    learningRate,
    schedule: name,
    warmupSteps,
    maxLength,
    seed,
    ...runIdentity(
      rows.flatMap(({ prompt, chosen, rejected }) => [prompt, chosen, rejected]),
      adapter,
    ),
    loss: loss.name,
    beta: loss.beta,
    optimizer: options.optimizer?.name ?? 'adamw',
  };

  const step = async (index: number) => {
    const last = Math.min((index + 1) * batchSize, Math.ceil(epochs * pairs.length));
    const chosen = Array.from({ length: last - index * batchSize }, (_, i) => order.at(index * batchSize + i));
    const batch = annotatePairs(chosen.map((i) => ({ ...pairs[i]!, reference: references[i]! })));
    const rate = learningRate * schedule(index);
    const result = await trainer.forwardBackward(batch, tokenLoss);
    const { gradNorm } = await trainer.optimStep({ learningRate: rate });
    state.numTokens += result.tokens;
    const epoch = last / pairs.length;
    const progress = { grad_norm: gradNorm, learning_rate: rate, epoch, num_tokens: state.numTokens };
    return { loss: result.loss, ...progress, ...result.metrics };
  };
  const history = await runSteps({ stage: loss.name, trainer, adapter, steps, settings, state, step }, options);
  return { trainer, adapter: adapter && withParameters(adapter, trainer.parameters), history, dropped, identical };
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
  const scored = await sequenceLogProbs(model.network, model.weights, sequences, { adapter, maxTokensPerPass });
  return pairs.map(({ promptTokens }, i) => {
    const [chosen, rejected] = [scored[2 * i]!, scored[2 * i + 1]!].map((s) =>
      s.logProbs.subarray(promptTokens.length - 1),
    );
    return { chosen: chosen!, rejected: rejected! };
  });
}
