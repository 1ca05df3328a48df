import {
  type ChatMessage,
  custom,
  type Given,
  integer,
  number,
  OptionError,
  options,
  type Prompt,
  text,
} from '@posttrain/interfaces';
import { type CausalLM, contextOf, withParameters } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import { type TokenLoss, weightedSum } from '../loss/token-loss.js';
import { collectRows, isRows, ROWS, type Rows, rowsHint, type UncheckedRows } from '../run/collect-rows.js';
import { rowsIdentity } from '../run/identity.js';
import { RowOrder } from '../run/row-order.js';
import { type RunResult, runSteps } from '../run/run-steps.js';
import { timed } from '../run/timed.js';
import { createTrainer, planRates, trainingIdentity, trainingShape } from '../run/training-options.js';
import { trlNames } from '../run/trl-names.js';
import { update } from '../run/update.js';
import { type TokenizedRow, tokenizeRows } from '../sft/tokenize-rows.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';
import { DistillRowError } from './distill-rows.js';

/** A question with its label and, where a teacher has given one, the rationale that leads to it. */
export interface StepByStepRow {
  readonly prompt: Prompt;
  readonly label: string;
  readonly rationale?: string | null;
}

const WHERE = 'distillStepByStep';
const shape = {
  ...trainingShape,
  /** `{ prompt, label, rationale? }`; the prompt a text or a list of messages. */
  rows: custom<Rows<StepByStepRow> | UncheckedRows>()(ROWS, isRows, { decisive: false, hint: rowsHint }),
  /** λ: the weight of the rationales' loss. Default 1, as in the paper. */
  rationaleWeight: number({ default: 1, min: 0 }),
  /** What the prompt begins with where the label is asked for, in training as later in use. Default `[label] `. */
  labelPrefix: text({ default: '[label] ' }),
  /** What it begins with where the rationale is asked for. Default `[rationale] `. */
  rationalePrefix: text({ default: '[rationale] ' }),
  /** Most tokens of a sequence. Default: the model's context, at most 1024. */
  maxLength: integer({ optional: true, min: 2 }),
  /** Questions in an update, each with its label and its rationale. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Times every row is seen; may be a fraction. Default 3. */
  epochs: number({ default: 3, above: 0, decisive: false }),
  /** Updates; replaces `epochs`. */
  steps: integer({ optional: true, min: 1 }),
  /** The peak rate. Default 2e-5, which suits whole models; adapters want about ten times as much. */
  learningRate: number({ default: 2e-5, min: 0 }),
};

/** The declared options of `distillStepByStep`. */
export const stepByStepOptions = options(WHERE, shape, trlNames(shape, {}));

/** Options of `distillStepByStep`. */
export interface StepByStepOptions<A extends TrainableAdapter = TrainableAdapter>
  extends Omit<Given<typeof stepByStepOptions>, 'adapter'> {
  /** What is trained, beside the frozen student. Left out: every weight of the student. */
  readonly adapter?: A;
}

/** What `distillStepByStep` gives. */
export interface StepByStepResult<A extends TrainableAdapter = TrainableAdapter> extends RunResult {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer;
  /** The adapter with its trained parameters; undefined when the student itself was trained. */
  readonly adapter: A | undefined;
}

/** A question's two tasks. */
interface Tasks {
  readonly label: TokenizedRow;
  readonly rationale?: TokenizedRow;
}

/**
 * Σ w (-log p), where w of a token is 1 / the labels' tokens of the step, or λ / the rationales'. Metrics: `label_loss` and
 * `rationale_loss`, both without λ.
 */
export const stepByStepLoss: TokenLoss = {
  name: 'step-by-step',
  annotations: ['label_mean', 'rationale_mean'],
  compute: ({ logProbs, weights, annotations: { label_mean, rationale_mean } }) => ({
    loss: weightedSum(logProbs.neg(), weights),
    metrics: {
      label_loss: weightedSum(logProbs.neg(), label_mean!),
      rationale_loss: weightedSum(logProbs.neg(), rationale_mean!),
    },
  }),
};

/** The rows of a step: both tasks of every question, each with the mean over its own tokens. */
export function stepByStepRows(tasks: readonly Tasks[], rationaleWeight: number): TrainingRow[] {
  const trained = ({ mask }: TokenizedRow) => mask.slice(1).reduce((a, b) => a + b, 0);
  const count = (of: readonly TokenizedRow[]) => of.reduce((sum, row) => sum + trained(row), 0);
  const labels = tasks.map(({ label }) => label);
  const rationales = tasks.flatMap(({ rationale }) => rationale ?? []);
  const rowsOf = (of: readonly TokenizedRow[], weight: number, isLabel: boolean) => {
    const total = count(of);
    return of.map(({ tokens, mask }): TrainingRow => {
      const mean = mask.slice(1).map((trains) => trains / total);
      const none = mean.map(() => 0);
      return {
        tokens,
        weights: mean.map((x) => weight * x),
        annotations: { label_mean: isLabel ? mean : none, rationale_mean: isLabel ? none : mean },
      };
    });
  };
  // A weight of 0 takes a row out of the step.
  const further = rationaleWeight > 0 ? rowsOf(rationales, rationaleWeight, false) : [];
  return [...rowsOf(labels, 1, true), ...further];
}

/**
 * Distilling step-by-step (Hsieh et al., arXiv 2305.02301): a student learns a teacher's labels and, as a second task, the rationales that
 * lead to them,
 *
 *   L = L_label + λ L_rationale
 *
 * each the mean of -log p over its task's tokens in the step. What the prompt begins with says which is asked for, so that a label costs
 * no rationale later. Rationales come from a teacher of whatever vocabulary, as texts. With λ 0 it is `sft` on the labels.
 *
 * @throws OptionError, DistillRowError, CheckpointError, RunLockedError, FileError; NonFiniteError before a bad update
 */
export async function distillStepByStep<A extends TrainableAdapter = TrainableAdapter>(
  given: StepByStepOptions<A>,
): Promise<StepByStepResult<A>> {
  const settings = stepByStepOptions.read(given);
  const { model, adapter, rationaleWeight, batchSize, seed } = settings;
  const { rows: collected } = await collectRows<StepByStepRow>(WHERE, settings.rows, settings);
  const maxLength = settings.maxLength ?? Math.min(1024, contextOf(model.config, adapter));
  const rows = collected.map((row, i) => tasksOf(model, row, i, { ...settings, maxLength }));
  if (rationaleWeight > 0 && rows.every(({ rationale }) => rationale === undefined)) {
    const problem = 'no row has a rationale; give some, or rationaleWeight: 0 for labels alone.';
    throw new OptionError('INVALID_OPTION', WHERE, 'rows', problem);
  }
  const stepsPerEpoch = Math.ceil(rows.length / batchSize);
  const steps = settings.steps ?? Math.ceil(settings.epochs * stepsPerEpoch);
  const rateOf = planRates(WHERE, settings, steps);
  const trainer = await createTrainer(WHERE, settings);
  const order = new RowOrder(rows.length, seed);
  const state = { numTokens: 0 };

  const step = async (index: number) => {
    const [epoch, position] = [Math.floor(index / stepsPerEpoch), index % stepsPerEpoch];
    const size = Math.min(batchSize, rows.length - position * batchSize);
    const first = epoch * rows.length + position * batchSize;
    const batch = Array.from({ length: size }, (_, i) => rows[order.at(first + i)]!);
    const learningRate = rateOf(index);
    const training = stepByStepRows(batch, rationaleWeight);
    const { loss, metrics, gradNorm, tokens } = await update(trainer, training, stepByStepLoss, learningRate);
    state.numTokens += tokens;
    const latest = { grad_norm: gradNorm, learning_rate: learningRate, num_tokens: state.numTokens };
    return { loss, ...metrics, ...latest, epoch: (index + 1) / stepsPerEpoch };
  };

  const result = await runSteps(
    {
      ...{ stage: WHERE, trainer, model, adapter, steps, state, step: timed(step) },
      settings: async () => ({
        ...trainingIdentity(WHERE, stepByStepOptions.settings({ ...given, steps }), settings),
        ...rowsIdentity(rows),
      }),
    },
    settings,
  );
  return { trainer, adapter: given.adapter && withParameters(given.adapter, trainer.parameters), ...result };
}

function tasksOf(
  model: CausalLM,
  { prompt, label, rationale }: StepByStepRow,
  index: number,
  given: { readonly labelPrefix: string; readonly rationalePrefix: string; readonly maxLength: number },
): Tasks {
  const task = (name: string, prefix: string, said: unknown): TokenizedRow => {
    if (typeof said !== 'string' || said === '') {
      throw new DistillRowError(index, `its ${name} must be a text that is not empty`);
    }
    const completion = typeof prompt === 'string' ? said : [{ role: 'assistant', content: said }];
    try {
      const row = { prompt: prefixed(prompt, prefix), completion };
      const { rows } = tokenizeRows(model, [row], { maxLength: given.maxLength });
      if (rows[0]) return rows[0];
    } catch (cause) {
      throw new DistillRowError(index, (cause as Error).message.replace(/^row 0: /, ''), { cause });
    }
    throw new DistillRowError(index, `no token of its ${name} is within maxLength ${given.maxLength}`);
  };
  return {
    label: task('label', given.labelPrefix, label),
    ...(rationale !== undefined &&
      rationale !== null && { rationale: task('rationale', given.rationalePrefix, rationale) }),
  };
}

/** The prompt of a task: its text, or the last message of the user, begins with the prefix. */
function prefixed(prompt: Prompt, prefix: string): Prompt {
  if (typeof prompt === 'string') return prefix + prompt;
  if (!Array.isArray(prompt)) return prompt;
  const last = prompt.map(({ role }) => role).lastIndexOf('user');
  return prompt.map((message: ChatMessage, i) =>
    i === last ? { ...message, content: prefix + message.content } : message,
  );
}
