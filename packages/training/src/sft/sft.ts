import { addSettings, type DecisiveSettings, OptionError, PosttrainError, settingsOf } from '@posttrain/interfaces';
import { contextOf, withParameters } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import { negativeLogLikelihood } from '../loss/token-loss.js';
import { collectRows, type Rows } from '../run/collect-rows.js';
import { lossOnRows } from '../run/evaluation.js';
import { tensorsHash } from '../run/identity.js';
import { warn } from '../run/run-options.js';
import { type RunResult, runSteps } from '../run/run-steps.js';
import { copyState } from '../run/stored-state.js';
import { createTrainer, planRates, trainingIdentity } from '../run/training-options.js';
import { update } from '../run/update.js';
import { type Penalty, penaltyNames } from '../trainer/penalty.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';
import { updateByRule } from '../update/update-rule.js';
import { countLabels, withContextLabels } from './context-labels.js';
import type { PackedRow } from './packing.js';
import { type RowsReport, sftFeedOf } from './sft-feed.js';
import { type SftOptions, type SftSettings, sftOptions } from './sft-options.js';
import { type SftRow, type TokenizedRow, tokenizeRows } from './tokenize-rows.js';

/** What `sft` gives. */
export interface SftResult<A extends TrainableAdapter = TrainableAdapter> extends RunResult {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer;
  /** The adapter with its trained parameters; undefined when the model itself was trained. */
  readonly adapter: A | undefined;
  /** Under Hugging Face's names: `train_loss`, and of this process `train_runtime` and the rates. */
  readonly summary: Readonly<Record<string, number>>;
  /** What became of the rows. */
  readonly report: RowsReport;
}

const SOURCE_STATE = 'the state of the source of rows';

/** What the steps of a run carry along. */
interface SftState {
  totalLoss: number;
  numTokens: number;
  /** That of a source of rows. */
  source?: unknown;
}

/**
 * Supervised fine-tuning: minimises -log p of the trained tokens, averaged over all trained tokens of an update,
 * whatever rows and passes they are in. See `SftRow` for the rows.
 *
 * It is a step for `runSteps` and made of public parts, to be copied where it does not fit.
 *
 * @throws OptionError, SftRowError, NonFiniteError, CheckpointError, RunLockedError, FileError, PosttrainError
 */
export async function sft<A extends TrainableAdapter = TrainableAdapter>(
  options: SftOptions<A>,
): Promise<SftResult<A>> {
  const settings = sftOptions.read(options);
  const { model, penalties, loss = negativeLogLikelihood } = settings;
  const labels = settings.adapter?.contextLabels;
  const minimised = labels ? withContextLabels(loss, labels) : loss;
  if (settings.update && penalties.length > 0) {
    const problem = `the update ${settings.update.name} makes the step by itself and knows no penalties; leave one of the two out.`;
    throw new OptionError('INVALID_OPTION', 'sft', 'penalties', problem);
  }
  if (options.steps !== undefined && options.epochs !== undefined) {
    warn(settings, `sft: steps ${options.steps} replaces epochs ${options.epochs}; give one of the two.`);
  }
  const { maxLength = Math.min(1024, contextOf(model.config, settings.adapter)) } = settings;
  const feed = await sftFeedOf({ ...settings, maxLength });
  const evaluation =
    settings.evaluationRows && (await evaluationOf(settings.evaluationRows, { ...settings, maxLength }));
  const { stepsPerEpoch } = feed;
  const steps = settings.steps ?? Math.ceil(settings.epochs * stepsPerEpoch!);
  const rateOf = planRates('sft', settings, steps);
  const trainer = await createTrainer('sft', settings);
  const state: SftState = { totalLoss: 0, numTokens: 0 };
  let trainedRows = 0;

  const step = async (index: number) => {
    const batch = toTrainingRows(await feed.take(index), countLabels(labels));
    const learningRate = rateOf(index);
    const { loss, metrics, tokens, gradNorm } = settings.update
      ? await updateByRule(trainer, settings.update, batch, minimised, { learningRate })
      : await update(trainer, batch, minimised, learningRate, { penalties });
    trainedRows += batch.length;
    state.totalLoss += loss;
    state.numTokens += tokens;
    if (feed.state) state.source = await copyState(await feed.state(), SOURCE_STATE);
    const latest = { grad_norm: gradNorm, learning_rate: learningRate, num_tokens: state.numTokens };
    return { loss, ...metrics, ...latest, ...(stepsPerEpoch && { epoch: (index + 1) / stepsPerEpoch }) };
  };

  const started = performance.now();
  let firstStep = 0;
  const result = await runSteps(
    {
      ...{ stage: 'sft', trainer, model, adapter: settings.adapter, steps, state, step, evaluation },
      async begin(at) {
        firstStep = at;
        if (at > 0) await feed.load?.(await copyState(state.source, SOURCE_STATE));
      },
      settings: async () => ({
        ...trainingIdentity('sft', sftOptions.settings({ ...options, steps }), settings),
        // How rows are split into passes decides which noise each gets.
        ...(settings.neftuneNoiseAlpha > 0 && { maxTokensPerPass: settings.maxTokensPerPass }),
        ...(await penaltiesIdentity(penalties)),
        ...feed.identity,
      }),
      describe: () => describe(settings, { step: trainer.step, steps, stepsPerEpoch, numTokens: state.numTokens }),
    },
    settings,
  );
  const seconds = (performance.now() - started) / 1000;
  return {
    trainer,
    adapter: options.adapter && withParameters(options.adapter, trainer.parameters),
    ...result,
    summary: {
      ...(trainer.step > 0 && { train_loss: state.totalLoss / trainer.step }),
      train_runtime: seconds,
      train_samples_per_second: trainedRows / seconds,
      train_steps_per_second: (trainer.step - firstStep) / seconds,
    },
    report: { ...feed.report },
  };
}

/** The mean of -log p over all trained tokens of held-out rows, which are cut and masked as those that are trained. */
async function evaluationOf(given: Rows<SftRow>, settings: SftSettings & { readonly maxLength: number }) {
  const { rows } = await collectRows('sft', given, settings, 'evaluationRows');
  const { rows: tokenized } = tokenizeRows(settings.model, rows, settings);
  if (tokenized.length === 0) {
    const problem = `truncation to maxLength ${settings.maxLength} leaves none of ${rows.length} evaluationRows a trained token`;
    throw new PosttrainError('SFT_ROWS', `sft: there is nothing to evaluate: ${problem}`);
  }
  return lossOnRows(toTrainingRows(tokenized), settings.loss ?? negativeLogLikelihood);
}

/** What stands for penalties: their names, how they are computed, and a digest of what they read. */
async function penaltiesIdentity(penalties: readonly Penalty[]): Promise<DecisiveSettings> {
  const settings: Record<string, DecisiveSettings[string]> = {};
  const names = penaltyNames(penalties);
  for (const [i, { compute, tensors = {} }] of penalties.entries()) {
    addSettings(
      settings,
      `penalties.${names[i]}`,
      settingsOf({ compute, tensors: await tensorsHash(Object.entries(tensors)) }),
    );
  }
  return settings;
}

/** The fields of Hugging Face's trainer_state.json. */
function describe(
  { batchSize, epochs, loggingSteps, saveSteps }: SftSettings,
  run: {
    readonly step: number;
    readonly steps: number;
    readonly stepsPerEpoch: number | undefined;
    readonly numTokens: number;
  },
) {
  return {
    ...(run.stepsPerEpoch && { epoch: run.step / run.stepsPerEpoch }),
    logging_steps: loggingSteps,
    max_steps: run.steps,
    num_input_tokens_seen: run.numTokens,
    num_train_epochs: epochs,
    save_steps: saveSteps ?? run.steps,
    train_batch_size: batchSize,
  };
}

/**
 * Rows of one update, each trained token weighted by 1 / the number of trained tokens of all of them, among which every sequence has
 * `labels` in its context.
 */
export function toTrainingRows(rows: readonly (TokenizedRow | PackedRow)[], labels = 0): TrainingRow[] {
  const trained = rows.reduce((sum, row) => {
    const sequences = 'lengths' in row ? row.lengths.length : 1;
    return sum + row.mask.slice(1).reduce((a, b) => a + b, 0) + labels * sequences;
  }, 0);
  return rows.map((row) => ({
    tokens: row.tokens,
    weights: row.mask.slice(1).map((trains) => trains / trained),
    ...('lengths' in row && { lengths: row.lengths }),
    ...(row.adapterInputs && { adapterInputs: row.adapterInputs }),
  }));
}
