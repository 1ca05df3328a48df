import { compile, scalar, type Tensor, tensor, valueAndGrad, withEngine } from '@posttrain/core-tensor';
import { adamW } from '@posttrain/core-tensor/optim';
import { options as declare, type Given, integer, number } from '@posttrain/interfaces';
import type { CausalLM, MedusaHeads, Weights } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import { NonFiniteError, refuseNonFinite } from '../trainer/non-finite-error.js';
import { finiteLoss, frozenStates, longEnough, rowsOfUpdate } from './frozen-batch.js';
import { IGNORED_LABEL, medusaLoss, medusaLossShape } from './medusa-loss.js';

const WHERE = 'trainMedusaHeads';
const trainMedusaHeadsOptions = declare(WHERE, {
  ...medusaLossShape,
  /** Updates. */
  steps: integer({ min: 1 }),
  /** Rows of an update, taken in order, from the start again after the last. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Of AdamW. Default 1e-3, as in the reference. */
  learningRate: number({ default: 1e-3, above: 0 }),
});
/** Options of `trainMedusaHeads`. */
export type TrainMedusaHeadsOptions = Given<typeof trainMedusaHeadsOptions>;

/**
 * Medusa-1 (arXiv 2401.10774 §2.2.1): trains the heads with `medusaLoss` on what a frozen model makes of rows; best of its own
 * answers, which are what the heads are to guess, behind their prompts. Tokens whose weight is 0 are not learnt. A row that is too short
 * for the last head is left out.
 *
 * @returns the trained heads, the loss of each step, and how many rows were left out (`dropped`)
 * @throws OptionError; PosttrainError MEDUSA_ROWS where all rows are too short; NonFiniteError
 */
export async function trainMedusaHeads(
  model: CausalLM,
  heads: MedusaHeads,
  given: readonly TrainingRow[],
  options: TrainMedusaHeadsOptions,
): Promise<{ readonly heads: MedusaHeads; readonly losses: readonly number[]; readonly dropped: number }> {
  const { steps, batchSize, learningRate, decay } = trainMedusaHeadsOptions.read(options);
  heads.checkFits(model);
  const { rows, dropped } = longEnough(WHERE, 'MEDUSA_ROWS', given, heads.numHeads + 1, 'for the last head');
  const optimizer = adamW();
  const longest = rows.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const step = withEngine(model.engine, () =>
    compile(
      (weights: Weights, state: ReturnType<typeof optimizer.init>, hidden: Tensor, labels: Tensor, rate: Tensor) => {
        const lossOf = (own: Weights) => medusaLoss(own, hidden, labels, heads, { decay }).loss;
        const { value, gradient } = valueAndGrad(lossOf)(weights);
        return { loss: value, ...optimizer.update(weights, gradient as Weights, state, rate) };
      },
      { name: 'medusaStep' },
    ),
  );
  let { weights } = heads;
  let state = optimizer.init(weights);
  const losses: number[] = [];
  for (let at = 0; at < steps; at++) {
    const batch = rowsOfUpdate(rows, batchSize, at);
    const hidden = await frozenStates(model, batch, longest);
    const labels = new Int32Array(batchSize * longest).fill(IGNORED_LABEL);
    batch.forEach(({ tokens, weights: weightOf }, i) => {
      for (let t = 1; t < tokens.length; t++) if (weightOf[t - 1]! > 0) labels[i * longest + t] = tokens[t]!;
    });
    const updated = await step(weights, state, hidden, tensor(labels, [batchSize, longest]), scalar(learningRate));
    losses.push(finiteLoss(WHERE, at, await updated.loss.item()));
    weights = updated.parameters;
    state = updated.state;
  }
  await step.dispose();
  await refuseNonFinite(weights, NonFiniteError.ofEnd);
  return { heads: heads.withWeights(weights), losses, dropped };
}
