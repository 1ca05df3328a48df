import { PosttrainError } from '@posttrain/interfaces';
import { withParameters } from '@posttrain/lm';
import { RowOrder } from '../run/row-order.js';
import type { TrainingRow } from '../trainer/rows.js';
import { negativeLogLikelihood } from '../trainer/token-loss.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import { Trainer } from '../trainer/trainer.js';
import { type PackedRow, packRows } from './packing.js';
import { RunLog, type Update } from './run-log.js';
import { identityOf, resumeSft, saveSftCheckpoint } from './sft-checkpoint.js';
import { completeOptions, planSteps, type SftLogEntry, type SftOptions } from './sft-options.js';
import { type TokenizedRow, type TokenizedRows, tokenizeRows } from './tokenize-rows.js';

export interface SftResult<A extends TrainableAdapter = TrainableAdapter> {
  /** `trainer.parameters` (or `trainer.model`, when no adapter was trained) are the result. */
  readonly trainer: Trainer;
  /** The adapter with its trained parameters; undefined when the model itself was trained. */
  readonly adapter: A | undefined;
  /** All entries of the log, those before a resumption included. */
  readonly history: readonly SftLogEntry[];
  /** Under Hugging Face's names: `train_loss`, and of this process `train_runtime` and the rates. */
  readonly summary: Readonly<Record<string, number>>;
  /** What became of the rows. */
  readonly report: Omit<TokenizedRows, 'rows'> & { readonly trainedRows: number };
}

/**
 * Supervised fine-tuning: minimises -log p of the trained tokens, averaged over all trained tokens of an update,
 * whatever rows and passes they are in. See `SftRow` for the rows.
 *
 * The loop is short and made of public parts, to be copied where it does not fit.
 *
 * @throws SftRowError, NonFiniteError, CheckpointError, PosttrainError
 */
export async function sft<A extends TrainableAdapter = TrainableAdapter>(
  options: SftOptions<A>,
): Promise<SftResult<A>> {
  const settings = completeOptions(options);
  const { adapter } = options;
  const { model, batchSize } = settings;
  const { rows: tokenized, ...counts } = tokenizeRows(model, settings.rows, settings);
  const rows = settings.packing ? packRows(tokenized, settings.maxLength) : tokenized;
  if (rows.length === 0) throw new PosttrainError('SFT_ROWS', 'sft: no rows are left to train on');
  const { stepsPerEpoch, totalSteps, schedule } = planSteps(settings, rows.length);
  const { optimizer, maxGradNorm, maxTokensPerPass, gradientCheckpointing, fp16, seed, lossScaling } = settings;
  const trainer = await Trainer.create(model, {
    optimizer,
    maxGradNorm,
    maxTokensPerPass,
    gradientCheckpointing,
    fp16,
    seed,
    ...(adapter && { adapter }),
    ...(lossScaling && { lossScaling }),
  });
  const run = { log: new RunLog(), identity: identityOf(settings, rows), totalSteps };
  await resumeSft(trainer, settings, run);

  const order = new RowOrder(rows.length, seed);
  const started = performance.now();
  const firstStep = trainer.step;
  let trainedRows = 0;
  while (trainer.step < totalSteps) {
    const [epoch, position] = [Math.floor(trainer.step / stepsPerEpoch), trainer.step % stepsPerEpoch];
    // The last batch of an epoch has the rows that are left.
    const size = Math.min(batchSize, rows.length - position * batchSize);
    const first = epoch * rows.length + position * batchSize;
    const batch = toTrainingRows(Array.from({ length: size }, (_, i) => rows[order.at(first + i)]!));
    const { loss, metrics, tokens } = await trainer.forwardBackward(batch, negativeLogLikelihood);
    const learningRate = settings.learningRate * schedule(trainer.step);
    const { gradNorm, skipped } = await trainer.optimStep({ learningRate });
    // The loss scale is lower now: the same rows again.
    if (skipped) continue;
    trainedRows += batch.length;

    const { step } = trainer;
    const latest: Update = { loss, gradNorm, learningRate, tokens, means: metrics };
    const done = { epoch: step / stepsPerEpoch };
    run.log.add(latest);
    if (step % settings.loggingSteps === 0 || step === totalSteps) {
      const entry = run.log.entry(latest, step - 1, done.epoch);
      settings.onLog?.(entry);
    }
    const secondsPerStep = (performance.now() - started) / 1000 / (step - firstStep);
    settings.onProgress?.({
      stage: 'sft',
      done: step,
      total: totalSteps,
      etaSeconds: secondsPerStep * (totalSteps - step),
      metrics: { loss, grad_norm: gradNorm, learning_rate: learningRate, ...metrics },
    });
    const isDue = settings.saveSteps !== undefined && step % settings.saveSteps === 0;
    if (isDue || step === totalSteps) await saveSftCheckpoint(trainer, settings, { ...run, ...done });
  }
  const seconds = (performance.now() - started) / 1000;
  return {
    trainer,
    adapter: adapter && withParameters(adapter, trainer.parameters),
    history: run.log.history,
    summary: {
      train_loss: run.log.meanLoss(trainer.step),
      train_runtime: seconds,
      train_samples_per_second: trainedRows / seconds,
      train_steps_per_second: (trainer.step - firstStep) / seconds,
    },
    report: { ...counts, trainedRows: rows.length },
  };
}

/** Rows of one update, each trained token weighted by 1 / the number of trained tokens of all of them. */
export function toTrainingRows(rows: readonly (TokenizedRow | PackedRow)[]): TrainingRow[] {
  const trained = rows.reduce((sum, { mask }) => sum + mask.slice(1).reduce((a, b) => a + b, 0), 0);
  return rows.map((row) => ({
    tokens: row.tokens,
    weights: row.mask.slice(1).map((trains) => trains / trained),
    ...('lengths' in row && { lengths: row.lengths }),
  }));
}
