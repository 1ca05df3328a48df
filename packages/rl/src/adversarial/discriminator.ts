import type { OptimizerChoice } from '@posttrain/core-tensor/optim';
import {
  custom,
  type DecisiveSettings,
  type Given,
  integer,
  number,
  OptionError,
  options,
  showValue,
} from '@posttrain/interfaces';
import type { SequenceClassifier } from '@posttrain/lm';
import {
  type Metrics,
  outcomeReward,
  type TrainableModel,
  Trainer,
  type TrainingRow,
  trainerShape,
  type UpdateResult,
  update,
} from '@posttrain/training';
import type { Stateful } from '../stateful.js';

/** Tells real sequences from those of a policy: `classifierDiscriminator`, a table, a remote model. */
export interface Discriminator extends Partial<Stateful> {
  readonly name: string;
  readonly settings?: DecisiveSettings;
  /** Trainers that `learn` updates, by the names that a run's checkpoints keep them under. */
  readonly trainers?: Readonly<Record<string, Trainer<TrainableModel>>>;
  /** D(y): the probability that each sequence, prompt and completion, is real. */
  realness(sequences: readonly (readonly number[])[]): Promise<ArrayLike<number>>;
  /** Learns to tell the one from the other; what it gives is logged. One without it stays as it is. */
  learn?(
    real: readonly (readonly number[])[],
    generated: readonly (readonly number[])[],
  ): Promise<Metrics> | Promise<void>;
}

const classifierOptions = options('classifierDiscriminator', {
  ...trainerShape,
  /** Default `adamw_torch`. */
  optimizer: custom<OptimizerChoice>()(trainerShape.optimizer.expects, trainerShape.optimizer.isValid, {
    default: 'adamw_torch',
  }),
  /** Constant over the run. Default 1e-4. */
  learningRate: number({ default: 1e-4, min: 0 }),
  /** Updates on one batch of real and generated sequences. Default 3, as in SeqGAN. */
  iterationsPerBatch: integer({ default: 3, min: 1 }),
});
/** Options of `classifierDiscriminator`. */
export type ClassifierDiscriminatorOptions = Given<typeof classifierOptions>;

/**
 * A sequence classifier as a discriminator, which learns by the cross-entropy of real (1) and generated (0): the loss of an outcome reward
 * model. Its parameters and its optimizer are in the run's checkpoints.
 *
 * @throws OptionError; what `Trainer.create` throws
 */
export async function classifierDiscriminator(
  model: SequenceClassifier,
  given: ClassifierDiscriminatorOptions = {},
): Promise<Discriminator> {
  const { learningRate, iterationsPerBatch, ...settings } = classifierOptions.read(given);
  if (model?.labels?.length !== 1) {
    const problem = `model is ${showValue(model)}; it must be a SequenceClassifier with one label (SequenceClassifier.fromCausalLM(model) makes one).`;
    throw new OptionError('INVALID_OPTION', 'classifierDiscriminator', 'model', problem);
  }
  const trainer = await Trainer.create(model, settings);
  const loss = outcomeReward();
  return {
    name: 'classifier',
    settings: classifierOptions.settings(given),
    trainers: { discriminator: trainer },
    async realness(sequences) {
      const { adapter } = trainer;
      const logits = await trainer.model.logits(sequences, { ...(adapter && { adapter }) });
      return logits.map(([logit]) => 1 / (1 + Math.exp(-logit!)));
    },
    async learn(real, generated) {
      const count = real.length + generated.length;
      const rowOf = (tokens: readonly number[], label: number): TrainingRow => ({
        tokens,
        weights: tokens.slice(1).map((_, t) => (t === tokens.length - 2 ? 1 / count : 0)),
        annotations: { label: [label] },
      });
      const rows = [...real.map((tokens) => rowOf(tokens, 1)), ...generated.map((tokens) => rowOf(tokens, 0))];
      let before: UpdateResult | undefined;
      for (let i = 0; i < iterationsPerBatch; i++) {
        const result = await update(trainer, rows, loss, learningRate);
        before ??= result;
      }
      return { 'discriminator/loss': before!.loss, 'discriminator/accuracy': before!.metrics.accuracy! };
    },
  };
}
