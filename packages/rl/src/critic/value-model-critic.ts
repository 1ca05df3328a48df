import type { OptimizerChoice } from '@posttrain/core-tensor/optim';
import { custom, type Given, integer, number, OptionError, options, showValue } from '@posttrain/interfaces';
import type { ValueModel } from '@posttrain/lm';
import { Trainer, trainerShape, type UpdateResult, update } from '@posttrain/training';
import type { Critic } from './critic-values.js';
import { valueLoss, valueLossShape, valueRows } from './value-loss.js';

const criticOptions = options('valueModelCritic', {
  ...trainerShape,
  ...valueLossShape,
  /** Default `adamw_torch`. */
  optimizer: custom<OptimizerChoice>()(trainerShape.optimizer.expects, trainerShape.optimizer.isValid, {
    default: 'adamw_torch',
  }),
  /** Constant over the run. Default 3e-6, as in TRL's PPO, which is for full fine-tuning. */
  learningRate: number({ default: 3e-6, min: 0 }),
  /** Updates on one batch of rollouts (TRL: `num_ppo_epochs`). Default 4. */
  iterationsPerBatch: integer({ default: 4, min: 1 }),
});
/** Options of `valueModelCritic`. */
export type ValueModelCriticOptions = Given<typeof criticOptions>;

/** A critic that a run trains. */
export interface ValueModelCritic extends Critic {
  readonly trainer: Trainer<ValueModel>;
}

/**
 * The critic of PPO (arXiv 1707.06347): a value model that is trained beside the policy, with the clipped value loss, by a trainer of
 * its own. Its parameters and its optimizer are in the run's checkpoints. `ValueModel.fromCausalLM(model)` makes one that begins
 * as the policy does; the critic of one run is not to be given to another.
 *
 * @throws OptionError; what `Trainer.create` throws
 */
export async function valueModelCritic(
  model: ValueModel,
  given: ValueModelCriticOptions = {},
): Promise<ValueModelCritic> {
  const { cliprangeValue, vfCoef, learningRate, iterationsPerBatch, ...settings } = criticOptions.read(given);
  if (typeof model?.values !== 'function') {
    const problem = `model is ${showValue(model)}; it must be a value model (ValueModel.fromCausalLM(model) makes one).`;
    throw new OptionError('INVALID_OPTION', 'valueModelCritic', 'model', problem);
  }
  const trainer = await Trainer.create(model, settings);
  const loss = valueLoss({ cliprangeValue, vfCoef });
  return {
    name: 'value-model',
    // The weights that it begins with are known by its trainer.
    settings: criticOptions.settings(given),
    trainer,
    trainers: { critic: trainer },
    values: (sequences) =>
      trainer.model.values(sequences, { adapter: trainer.adapter, maxTokensPerPass: settings.maxTokensPerPass }),
    async learn(examples) {
      const rows = valueRows(examples);
      const epochs: UpdateResult[] = [];
      for (let i = 0; i < iterationsPerBatch && rows.length > 0; i++) {
        epochs.push(await update(trainer, rows, loss, learningRate));
      }
      const mean = (of: (epoch: UpdateResult) => number) =>
        epochs.reduce((sum, epoch) => sum + of(epoch), 0) / epochs.length;
      if (epochs.length === 0) return {};
      return {
        'loss/value_avg': mean(({ metrics }) => metrics.vf_loss!),
        'val/clipfrac_avg': mean(({ metrics }) => metrics.vf_clipfrac!),
        'val/grad_norm': mean(({ gradNorm }) => gradNorm),
      };
    },
  };
}
