import type { CausalLM } from '@posttrain/lm';
import {
  RowOrder,
  type SftRow,
  type TokenLoss,
  type TrainableAdapter,
  Trainer,
  type TrainingRow,
  tokenizeRows,
  weightedSum,
} from '@posttrain/training';

/** What the loop needs to know. */
export interface SftLoop {
  readonly model: CausalLM;
  /** What is trained, beside the model. */
  readonly adapter: TrainableAdapter;
  /** Prompts with completions, conversations or texts. */
  readonly rows: readonly SftRow[];
  /** Rows of an update. The last one of an epoch has those that are left. */
  readonly batchSize: number;
  readonly epochs: number;
  /** Of the first update; it falls linearly to 0. */
  readonly learningRate: number;
  /** Tokens that are kept of a row. */
  readonly maxLength: number;
  /** Of the order of rows, and of dropout. */
  readonly seed: number;
  readonly onStep?: (step: number, loss: number) => void;
}

/** What is minimised: -Σ w log p over the predictions of an update, a pure function of what a pass gives. */
const negativeLogLikelihood: TokenLoss = {
  name: 'nll',
  annotations: [],
  compute: ({ logProbs, weights }) => ({ loss: weightedSum(logProbs.neg(), weights), metrics: {} }),
};

/** Supervised fine-tuning: what `sft` does, without what is the same in every run. */
export async function sftLoop({ model, adapter, rows, seed, ...options }: SftLoop): Promise<Trainer> {
  const { epochs, batchSize, learningRate, maxLength, onStep } = options;
  const trainer = await Trainer.create(model, { adapter, seed, optimizer: 'adamw_torch' });

  // Token ids of every row, and a mask of those that are trained: the completion's, and not the prompt's.
  const { rows: tokenized } = tokenizeRows(model, rows, { maxLength });
  const order = new RowOrder(tokenized.length, seed);
  const stepsPerEpoch = Math.ceil(tokenized.length / batchSize);
  const steps = epochs * stepsPerEpoch;

  for (let step = 0; step < steps; step++) {
    // Every epoch is a shuffle of its own, in which every row comes once.
    const [epoch, position] = [Math.floor(step / stepsPerEpoch), (step % stepsPerEpoch) * batchSize];
    const size = Math.min(batchSize, tokenized.length - position);
    const chosen = Array.from(
      { length: size },
      (_, i) => tokenized[order.at(epoch * tokenized.length + position + i)]!,
    );

    // Prediction t is of token t + 1. Each that is trained weighs 1 / (how many of the batch are), so the loss is their mean, and
    // the same however rows are split over passes.
    const trained = chosen.reduce((sum, { mask }) => sum + mask.slice(1).reduce((a, b) => a + b, 0), 0);
    const batch = chosen.map(({ tokens, mask }): TrainingRow => {
      return { tokens, weights: mask.slice(1).map((trains) => trains / trained) };
    });

    // The gradient of the loss over all rows, in as many passes as fit; clipped to norm 1, it is AdamW's.
    const { loss } = await trainer.forwardBackward(batch, negativeLogLikelihood);
    await trainer.optimStep({ learningRate: learningRate * (1 - step / steps) });
    onStep?.(step, loss);
  }
  return trainer;
}
