import { Key } from '@posttrain/core-tensor';
import { addSettings, type DecisiveSettings, OptionError } from '@posttrain/interfaces';
import {
  type Adapter,
  type CausalLM,
  contextOf,
  LocalGenerator,
  NO_ADAPTER,
  type PackWeights,
  withParameters,
} from '@posttrain/lm';
import { collectRows, type Rows } from '../run/collect-rows.js';
import type { EvaluationOnRows } from '../run/evaluation.js';
import { contentHash, rowsIdentity } from '../run/identity.js';
import { RowOrder } from '../run/row-order.js';
import { warn } from '../run/run-options.js';
import { type RunResult, runSteps } from '../run/run-steps.js';
import { timed } from '../run/timed.js';
import { createTrainer, planRates, trainingIdentity } from '../run/training-options.js';
import { update } from '../run/update.js';
import { toTrainingRows } from '../sft/sft.js';
import type { TokenizedRow } from '../sft/tokenize-rows.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';
import { type DistillOptions, type DistillSettings, distillOptions } from './distill-options.js';
import { type DistillPrompt, type DistillRow, distillPrompt } from './distill-rows.js';
import { TeacherFile } from './teacher-file.js';
import { teachingOf } from './teaching.js';

/** What `distill` gives. */
export interface DistillResult<A extends TrainableAdapter = TrainableAdapter> extends RunResult {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer;
  /** The adapter with its trained parameters; undefined when the student itself was trained. */
  readonly adapter: A | undefined;
}

const WHERE = 'distill';
/** Of the keys of a run's seed, steps have those from 0 up; this one is that of all evaluations. */
const EVALUATION = 2 ** 32 - 1;

/**
 * On-policy distillation, GKD (arXiv 2306.13649, algorithm 1): with probability λ a batch is completions that the
 * student has just sampled, else those of the data (or of the teacher, with `seqKd`), and an update minimises the
 * mean over their tokens of the divergence of the two next-token distributions. TRL's GKDTrainer. No gradient goes
 * through the sampling. With `lmbda: 0, alpha` it is Hinton's knowledge distillation (arXiv 1503.02531) on the data, labels included; its
 * teacher may then be a file (`storeTeacherTopK`).
 *
 * @throws OptionError, DistillRowError, TeacherFileError, CheckpointError, RunLockedError, FileError; NonFiniteError before a bad
 *   update
 */
export async function distill<A extends TrainableAdapter = TrainableAdapter>(
  given: DistillOptions<A>,
): Promise<DistillResult<A>> {
  const declared = distillOptions.read(given);
  const settings = { ...declared, maxLength: lengthOf(declared) };
  if (given.steps !== undefined && given.epochs !== undefined) {
    warn(settings, `${WHERE}: steps ${given.steps} replaces epochs ${given.epochs}; give one of the two.`);
  }
  const { model, adapter, batchSize, lmbda, seqKd, alpha, seed } = settings;
  if (alpha !== undefined && lmbda > 0) {
    const problem = `alpha weighs the labels of the data, and with lmbda ${lmbda} batches are sampled from the student, which have none; give lmbda: 0.`;
    throw new OptionError('INVALID_OPTION', WHERE, 'alpha', problem);
  }
  const teaching = teachingOf(WHERE, settings);
  const needsData = lmbda < 1 && !seqKd;
  const rows = await promptsOf('rows', settings.rows, { ...settings, needsData });
  const held =
    settings.evaluationRows &&
    (await promptsOf('evaluationRows', settings.evaluationRows, { ...settings, needsData: false }));
  const stepsPerEpoch = Math.ceil(rows.length / batchSize);
  const steps = settings.steps ?? Math.ceil(settings.epochs * stepsPerEpoch);
  const rateOf = planRates(WHERE, settings, steps);
  const trainer = await createTrainer(WHERE, settings);
  const { loss } = teaching;
  const ofTeacher: Sampler = { model: teaching.model ?? model, adapter: NO_ADAPTER, packWeights: 'at-once' };
  const order = new RowOrder(rows.length, seed);
  const state = { numTokens: 0 };

  const step = async (index: number, signal: AbortSignal | undefined) => {
    const [epoch, position] = [Math.floor(index / stepsPerEpoch), index % stepsPerEpoch];
    const size = Math.min(batchSize, rows.length - position * batchSize);
    const first = epoch * rows.length + position * batchSize;
    const indices = Array.from({ length: size }, (_, i) => order.at(first + i));
    const prompts = indices.map((row) => rows[row]!);
    const key = Key.fromSeed(seed).child(index);
    const isOnPolicy = key.uniformHost(1)[0]! < lmbda;
    const from = isOnPolicy ? studentOf(trainer) : ofTeacher;
    const batch =
      isOnPolicy || seqKd
        ? await sampled(from, prompts, settings, key.child(0), signal)
        : prompts.map(({ data }) => data!);
    const learningRate = rateOf(index);
    const training = await teaching.annotate(toTrainingRows(batch), indices);
    signal?.throwIfAborted();
    const { gradNorm, tokens, ...result } = await update(trainer, training, loss, learningRate);
    state.numTokens += tokens;
    return {
      loss: result.loss,
      ...result.metrics,
      ...{ grad_norm: gradNorm, learning_rate: learningRate, num_tokens: state.numTokens },
      ...{ epoch: (index + 1) / stepsPerEpoch, on_policy: isOnPolicy ? 1 : 0, completion_length: trainedTokens(batch) },
    };
  };

  /** The divergence on completions that are held out, and on the student's own where a prompt has none. */
  const evaluationOn = (prompts: readonly DistillPrompt[]): EvaluationOnRows => ({
    digest: contentHash(prompts),
    async measure(_, signal) {
      const open = prompts.filter(({ data }) => data === undefined);
      const key = Key.fromSeed(seed).child(EVALUATION);
      const own = open.length > 0 ? await sampled(studentOf(trainer), open, settings, key, signal) : [];
      const batch = [...prompts.flatMap(({ data }) => data ?? []), ...own];
      const { loss: value } = await trainer.evaluate(await teaching.annotate(toTrainingRows(batch)), loss, { signal });
      return { loss: value, completion_length: trainedTokens(batch) };
    },
  });

  const result = await runSteps(
    {
      ...{ stage: WHERE, trainer, model, adapter, steps, state, step: timed(step) },
      evaluation: held && evaluationOn(held),
      settings: async () => {
        const identity: Record<string, DecisiveSettings[string]> = {
          ...trainingIdentity(WHERE, distillOptions.settings({ ...given, steps }), settings),
          ...rowsIdentity(rows),
        };
        addSettings(identity, 'teacher', await teaching.identity());
        return identity;
      },
    },
    settings,
  );
  const trained = given.adapter && withParameters(given.adapter, trainer.parameters);
  return { trainer, adapter: trained, ...result };
}

/** A model to sample from. */
interface Sampler {
  readonly model: CausalLM;
  readonly adapter: Adapter;
  /** The same digits after an interruption: weights that change start anew at each step by themselves. */
  readonly packWeights: PackWeights;
}

const studentOf = ({ model, adapter }: Trainer): Sampler => ({
  ...{ model, adapter, packWeights: adapter === NO_ADAPTER ? 'auto' : 'at-once' },
});

/** The mean over rows of their trained tokens. */
const trainedTokens = (rows: readonly TokenizedRow[]): number =>
  rows.reduce((sum, { mask }) => sum + mask.reduce((a, b) => a + b, 0), 0) / rows.length;

/** A completion of each prompt, its tokens trained: a pure function of weights and key. */
async function sampled(
  { model, adapter, packWeights }: Sampler,
  prompts: readonly DistillPrompt[],
  { maxCompletionLength, maxLength, temperature, maxBatch }: DistillSettings & { readonly maxLength: number },
  key: Key,
  signal: AbortSignal | undefined,
): Promise<TokenizedRow[]> {
  signal?.throwIfAborted();
  const generator = new LocalGenerator(model, { adapter: () => adapter, maxBatch, packWeights });
  // The uniform number has 24 bits: the seeds of the prompts follow it.
  const seed = key.uniformHost(1)[0]! * 2 ** 48;
  const completions = await generator.generate(
    prompts.map(({ promptTokens, continuesText }, i) => ({
      prompt: { tokenIds: promptTokens, continuesText },
      ...{ maxTokens: Math.min(maxCompletionLength, maxLength - promptTokens.length), temperature, seed: seed + i },
      ...(signal && { signal }),
    })),
  );
  signal?.throwIfAborted();
  return prompts.map(({ promptTokens }, i) => {
    const tokens = completions[i]![0]!.tokenIds!;
    return {
      tokens: [...promptTokens, ...tokens],
      mask: [...promptTokens.map(() => 0), ...tokens.map(() => 1)],
    };
  });
}

/** @throws OptionError for a length that was asked for and is longer than the context */
function lengthOf({ model, adapter, teacher, maxLength }: DistillSettings): number {
  const taught = teacher instanceof TeacherFile ? Number.POSITIVE_INFINITY : teacher.config.maxPositionEmbeddings;
  const context = Math.min(contextOf(model.config, adapter), taught);
  if (maxLength === undefined) return Math.min(1024, context);
  if (maxLength <= context) return maxLength;
  const problem = `maxLength is ${maxLength}; student and teacher hold ${context} tokens.`;
  throw new OptionError('INVALID_OPTION', WHERE, 'maxLength', problem);
}

async function promptsOf(
  option: 'rows' | 'evaluationRows',
  given: Rows<DistillRow>,
  settings: DistillSettings & { readonly maxLength: number; readonly needsData: boolean },
): Promise<DistillPrompt[]> {
  const { rows } = await collectRows(WHERE, given, settings, option);
  return rows.map((row, i) => distillPrompt(settings.model, row, i, settings));
}
