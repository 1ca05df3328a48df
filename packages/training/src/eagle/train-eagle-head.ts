import { compile, Key, scalar, type Tensor, tensor, valueAndGrad, withEngine } from '@posttrain/core-tensor';
import { adamW } from '@posttrain/core-tensor/optim';
import { options as declare, type Given, integer, number } from '@posttrain/interfaces';
import { type CausalLM, type EagleHead, eagleStates, type Weights } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import { finiteLoss, frozenStates, longEnough, rowsOfUpdate } from '../medusa/frozen-batch.js';
import { NonFiniteError, refuseNonFinite } from '../trainer/non-finite-error.js';
import { eagleLoss, eagleLossShape } from './eagle-loss.js';

const WHERE = 'trainEagleHead';
const trainEagleHeadOptions = declare(WHERE, {
  ...eagleLossShape,
  /** Updates. */
  steps: integer({ min: 1 }),
  /** Rows of an update, taken in order, from the start again after the last. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Of AdamW. Default 3e-5, as in the paper. */
  learningRate: number({ default: 3e-5, above: 0 }),
  /** Features are read with noise of U(−noise, noise), for those that the head goes on from are not exact. Default 0.1. */
  noise: number({ default: 0.1, min: 0 }),
  /** Of the noise. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `trainEagleHead`. */
export type TrainEagleHeadOptions = Given<typeof trainEagleHeadOptions>;

/**
 * Trains the head of EAGLE (arXiv 2401.15077 §4.2) with `eagleLoss` on what a frozen model makes of rows: its feature of each token
 * from the features before it and the tokens up to it. AdamW has β = (0.9, 0.95), as in the paper. Features count where the token
 * that is drawn from them is learnt, and the embedding stays as it is. A row from which no feature can be learnt is left out.
 *
 * @returns the trained head, the loss of each step, and how many rows were left out (`dropped`)
 * @throws OptionError; PosttrainError EAGLE_ROWS where no row has a feature to learn; NonFiniteError
 */
export async function trainEagleHead(
  model: CausalLM,
  head: EagleHead,
  given: readonly TrainingRow[],
  options: TrainEagleHeadOptions,
): Promise<{ readonly head: EagleHead; readonly losses: readonly number[]; readonly dropped: number }> {
  const { steps, batchSize, learningRate, noise, seed, classificationWeight } = trainEagleHeadOptions.read(options);
  head.checkFits(model);
  const { rows, dropped } = longEnough(WHERE, 'EAGLE_ROWS', given, 2, 'behind its second');
  const { network } = model;
  const { hiddenSize: width } = model.config;
  const optimizer = adamW({ beta2: 0.95 });
  const longest = rows.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const pairs = longest - 1;
  const step = withEngine(model.engine, () =>
    compile(
      (
        weights: Weights,
        state: ReturnType<typeof optimizer.init>,
        target: Weights,
        embedding: Tensor,
        batch: Readonly<Record<'tokens' | 'hidden' | 'noise' | 'learnt', Tensor>>,
        rate: Tensor,
      ) => {
        const flat = (states: Tensor) => states.reshape([batchSize * pairs, width]);
        const lossOf = (own: Weights) => {
          const seen = batch.hidden.slice(1, 0, pairs).add(batch.noise);
          const states = flat(eagleStates({ network: head.network, embedding }, own, batch.tokens, seen));
          const output = { matrix: network.head(target), softCap: network.logitSoftCap };
          return eagleLoss(states, flat(batch.hidden.slice(1, 1)), batch.learnt, output, { classificationWeight }).loss;
        };
        const { value, gradient } = valueAndGrad(lossOf)(weights);
        return { loss: value, ...optimizer.update(weights, gradient as Weights, state, rate) };
      },
      { name: 'eagleStep' },
    ),
  );
  let { weights } = head;
  let state = optimizer.init(weights);
  const losses: number[] = [];
  for (let at = 0; at < steps; at++) {
    const batch = rowsOfUpdate(rows, batchSize, at);
    const tokens = new Int32Array(batchSize * pairs);
    const learnt = new Float32Array(batchSize * pairs);
    batch.forEach((row, i) => {
      tokens.set(row.tokens.slice(1), i * pairs);
      // What is drawn from the feature of token t + 1 is token t + 2.
      for (let t = 0; t + 2 < row.tokens.length; t++) learnt[i * pairs + t] = Number(row.weights[t + 1]! > 0);
    });
    const uniforms = Key.fromSeed(seed)
      .child(at)
      .uniformHost(batchSize * pairs * width);
    const updated = await step(
      weights,
      state,
      model.weights,
      head.embedding,
      {
        tokens: tensor(tokens, [batchSize, pairs]),
        hidden: await frozenStates(model, batch, longest),
        noise: tensor(
          Float32Array.from(uniforms, (u) => noise * (2 * u - 1)),
          [batchSize, pairs, width],
        ),
        learnt: tensor(learnt),
      },
      scalar(learningRate),
    );
    losses.push(finiteLoss(WHERE, at, await updated.loss.item()));
    weights = updated.parameters;
    state = updated.state;
  }
  await step.dispose();
  await refuseNonFinite(weights, NonFiniteError.ofEnd);
  return { head: head.withWeights(weights), losses, dropped };
}
