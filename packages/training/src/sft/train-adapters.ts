import { scalar, where } from '@posttrain/core-tensor';
import { parameterGroups } from '@posttrain/core-tensor/optim';
import { addSettings, type DecisiveSettings, type Given, OptionError, options } from '@posttrain/interfaces';
import { contextOf } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import { negativeLogLikelihood, type TokenLoss, weightedSum } from '../loss/token-loss.js';
import { type RunResult, runSteps } from '../run/run-steps.js';
import { chosenOptimizer, createTrainer, planRates, trainingIdentity } from '../run/training-options.js';
import { update } from '../run/update.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';
import type { Trainer } from '../trainer/trainer.js';
import { toTrainingRows } from './sft.js';
import { type SftFeed, sftFeedOf } from './sft-feed.js';
import { type SftOptions, type SftSettings, sftOptions } from './sft-options.js';

/** Several adapters as one: `stackAdapters` of `@posttrain/peft` makes it. */
export interface TrainableStack extends TrainableAdapter {
  readonly names: readonly string[];
  owns(name: string, parameter: string): boolean;
}

const { rows, batchSize, learningRate, maxGradNorm, packing, seed } = sftOptions.shape;
const jobOptions = (name: string) =>
  options(`trainAdapters: jobs.${name}`, { rows, batchSize, learningRate, maxGradNorm, packing, seed });
/** What one adapter is trained on, and how: options of `sft`, which the run's are the defaults of. */
export type AdapterJob = Given<ReturnType<typeof jobOptions>>;

/** What is not of one adapter, or not for several. */
type Left = 'adapter' | 'rows' | 'evaluationRows' | 'epochs' | 'steps' | 'loss' | 'penalties' | 'update';

/** Options of `trainAdapters`: those of `sft` for all jobs, and the jobs. */
export interface TrainAdaptersOptions extends Omit<SftOptions, Left> {
  readonly adapter: TrainableStack;
  /** By the names of the adapters; every adapter has one. */
  readonly jobs: Readonly<Record<string, AdapterJob>>;
  /** Updates, of all adapters alike. */
  readonly steps: number;
}

/** What `trainAdapters` gives. */
export interface TrainAdaptersResult extends RunResult {
  /** `adapter.adapterOf(name, trainer.parameters)` is an adapter that was trained. */
  readonly trainer: Trainer;
}

/**
 * Multi-LoRA training: supervised fine-tuning of several adapters at once over one frozen base. Every update has a batch of
 * each job in the same passes, so that the base's work is done once; each batch is normalised by its own tokens, and each
 * adapter has its own rate, clip and optimizer state. So each becomes, but for rounding, what `sft` alone makes of it.
 *
 * Metrics are `loss`, the sum, and `loss/NAME` and `learning_rate/NAME` of each.
 *
 * @throws what `sft` throws; OptionError for jobs that are not those of the adapters
 */
export async function trainAdapters(given: TrainAdaptersOptions): Promise<TrainAdaptersResult> {
  const { jobs, adapter, ...common } = given;
  const { names } = adapter;
  const odd = [...names.filter((name) => !jobs[name]), ...Object.keys(jobs).filter((name) => !names.includes(name))];
  if (odd.length > 0) {
    const problem = `jobs must be of the adapters ${names.join(', ')}, and ${odd[0]} ${jobs[odd[0]!] ? 'is none' : 'has none'}.`;
    throw new OptionError('INVALID_OPTION', 'trainAdapters', 'jobs', problem);
  }
  for (const key of ['loss', 'penalties', 'update', 'evaluationRows', 'epochs'] as const) {
    if ((common as Readonly<Record<string, unknown>>)[key] === undefined) continue;
    throw new OptionError('UNKNOWN_OPTION', 'trainAdapters', key, `there is no ${key} for several adapters.`);
  }
  const all = names.map((name) => {
    jobOptions(name).read(jobs[name]!);
    return sftOptions.read({ ...common, ...jobs[name]!, adapter });
  });
  const { weightDecay: _, ...first } = all[0]!;
  if (first.neftuneNoiseAlpha > 0) {
    const problem = 'neftuneNoiseAlpha draws noise that would be another in batches of one adapter; leave it out.';
    throw new OptionError('INVALID_OPTION', 'trainAdapters', 'neftuneNoiseAlpha', problem);
  }
  const settings: SftSettings = {
    ...first,
    // Each group has its own.
    ...{ learningRate: 1, maxGradNorm: 0, adapter },
    optimizer: parameterGroups(
      names.map((name, i) => ({
        match: (parameter: string) => adapter.owns(name, parameter),
        optimizer: chosenOptimizer('trainAdapters', all[i]!),
        learningRateFactor: all[i]!.learningRate,
        ...(all[i]!.maxGradNorm > 0 && { maxGradNorm: all[i]!.maxGradNorm }),
      })),
    ),
  };
  const { model } = settings;
  const { maxLength = Math.min(1024, contextOf(model.config, adapter)) } = settings;
  const feeds: SftFeed[] = [];
  for (const one of all) feeds.push(await sftFeedOf({ ...one, maxLength }));
  const sourced = names.find((_, i) => feeds[i]!.stepsPerEpoch === undefined);
  if (sourced !== undefined) {
    const problem = `rows of ${sourced} come from a source, which is for one adapter at a time.`;
    throw new OptionError('INVALID_OPTION', 'trainAdapters', 'jobs', problem);
  }
  const trainer = await createTrainer('trainAdapters', settings);
  const rateOf = planRates('trainAdapters', settings, given.steps);
  const loss = lossByAdapter(names);

  const step = async (index: number) => {
    const batch: TrainingRow[] = [];
    for (const [i, feed] of feeds.entries()) batch.push(...rowsOfJob(toTrainingRows(await feed.take(index)), i));
    const { loss: total, metrics, gradNorm } = await update(trainer, batch, loss, rateOf(index));
    const rates = names.map((name, i) => [`learning_rate/${name}`, rateOf(index) * all[i]!.learningRate] as const);
    return { loss: total, ...metrics, grad_norm: gradNorm, ...Object.fromEntries(rates) };
  };
  const result = await runSteps(
    {
      ...{ stage: 'adapters', trainer, model, adapter, steps: given.steps, state: {}, step },
      settings: () => {
        const decided: Record<string, DecisiveSettings[string]> = {};
        for (const [i, name] of names.entries()) {
          const declared = sftOptions.settings({ ...common, ...jobs[name]!, adapter });
          const { identity } = feeds[i]!;
          addSettings(decided, `jobs.${name}`, {
            ...trainingIdentity('trainAdapters', declared, all[i]!),
            ...identity,
          });
        }
        return decided;
      },
    },
    settings,
  );
  return { trainer, ...result };
}

/** Rows that say whose they are: to the adapter, and to the metrics. */
const rowsOfJob = (given: readonly TrainingRow[], place: number): TrainingRow[] =>
  given.map((row) => ({
    ...row,
    adapterInputs: row.lengths ? row.lengths.map(() => ({ adapter: place })) : { adapter: place },
    annotations: { job: [place] },
  }));

/** The negative log-likelihood, also of each adapter by itself. */
const lossByAdapter = (names: readonly string[]): TokenLoss => ({
  name: 'nll_by_adapter',
  annotations: [{ name: 'job', per: 'row' }],
  compute(inputs) {
    const { logProbs, weights, annotations } = inputs;
    const { loss } = negativeLogLikelihood.compute(inputs);
    const job = annotations.job!.reshape([weights.shape[0]!, 1]);
    const metrics = names.map((name, i) => {
      const own = where(job.equal(i), weights, scalar(0));
      return [`loss/${name}`, weightedSum(logProbs.neg(), own)] as const;
    });
    return { loss, metrics: Object.fromEntries(metrics) };
  },
});
