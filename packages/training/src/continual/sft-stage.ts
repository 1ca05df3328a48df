import { type Given, options } from '@posttrain/interfaces';
import { negativeLogLikelihood, type TokenLoss } from '../loss/token-loss.js';
import { chosenOptimizer } from '../run/training-options.js';
import { trlNames } from '../run/trl-names.js';
import { sft, toTrainingRows } from '../sft/sft.js';
import { type SftOptions, sftOptions } from '../sft/sft-options.js';
import { type SftRow, tokenizeRows } from '../sft/tokenize-rows.js';
import type { ContinualStage } from './continual-method.js';

/** Options of `sftStage`: those of `sft`, without what a stream says. */
export type SftStageOptions = Omit<
  SftOptions,
  'model' | 'adapter' | 'rows' | 'evaluationRows' | 'penalties' | 'update' | 'loss' | 'outputFolder' | 'resume'
>;

// What a stream says: its model, rows and folders, and what its method adds.
const { model: _model, adapter: _adapter, rows: _rows, evaluationRows: _evaluationRows, ...ofRun } = sftOptions.shape;
const { penalties: _penalties, update: _update, loss: _loss, ...ofFolder } = ofRun;
const { outputFolder: _outputFolder, resume: _resume, ...stageShape } = ofFolder;
const stageOptions = options('sftStage', stageShape, trlNames(stageShape, {}));

/** The likelihood, with the number of rows of which every trained token is the most likely one. */
const measured: TokenLoss = {
  ...negativeLogLikelihood,
  name: 'nll and exact rows',
  compute(inputs) {
    const { loss, metrics } = negativeLogLikelihood.compute(inputs);
    const trained = inputs.weights.greater(0).cast('float32');
    const isWrong = trained.mul(inputs.isGreedy.neg().add(1)).max(1);
    return { loss, metrics: { ...metrics, exact: trained.max(1).sub(isWrong).sum() } };
  },
};

/**
 * `sft` as a stage of a stream, for continual pretraining (rows with a `text`) and instruction tuning. Every task has its own run,
 * with its own schedule; in a stream with an `outputFolder` it is written there, and goes on from its last checkpoint (`saveSteps`). Where a method brings a source of rows, there are as many updates as without it.
 *
 * Scores are `loss`, `perplexity` and `mean_token_accuracy` over the trained tokens, and `exact_match`, the share of rows of which
 * every trained token is the most likely one.
 */
export function sftStage(given: SftStageOptions = {}): ContinualStage<SftRow> {
  const { optimizer, weightDecay, epochs = 3, steps, ...others } = given;
  const { batchSize = 8 } = given;
  return {
    name: 'sft',
    settings: { ...stageOptions.settings(given as Given<typeof stageOptions>), ...(steps === undefined && { epochs }) },
    takes: ['rows', 'penalties', 'loss', 'update', 'optimizer'],
    async train({ model, adapter, task, plan, folder }) {
      const { optimizer: around, ...planned } = plan;
      const updates = steps ?? Math.ceil(epochs * Math.ceil(task.rows.length / batchSize));
      const settings = { ...(optimizer && { optimizer }), ...(weightDecay !== undefined && { weightDecay }) };
      const { trainer, adapter: trained } = await sft({
        ...{ ...others, model, rows: task.rows, steps: updates, ...(adapter && { adapter }) },
        ...(around ? { optimizer: around(chosenOptimizer('sft', settings)) } : settings),
        ...planned,
        ...(folder !== undefined && { outputFolder: folder, resume: true }),
      });
      return { trainer, adapter: trained };
    },
    trainingRows: ({ model }, rows) => toTrainingRows(tokenizeRows(model, rows, others).rows),
    async evaluate(trainer, { model }, rows) {
      const training = toTrainingRows(tokenizeRows(model, rows, others).rows);
      const { loss, metrics } = await trainer.evaluate(training, measured);
      const { mean_token_accuracy, exact } = metrics as Record<'mean_token_accuracy' | 'exact', number>;
      return { loss, perplexity: Math.exp(loss), mean_token_accuracy, exact_match: exact / training.length };
    },
  };
}
