import { sequenceLogProbs } from '@posttrain/lm';
import { annotatePairs, dpoLoss, liftPreferenceLoss, tokenizePair } from '@posttrain/rl';
import { RowOrder, Trainer } from '@posttrain/training';
import type { DpoLoop } from './options.js';

/** Direct Preference Optimization (arXiv 2305.18290): what `dpo` does, without what is the same in every run. */
export async function dpoLoop({ model, adapter, rows, seed, ...options }: DpoLoop): Promise<Trainer> {
  const { beta, epochs, batchSize, learningRate, maxLength, onStep } = options;
  const trainer = await Trainer.create(model, { adapter, seed, optimizer: 'adamw_torch' });
  const loss = liftPreferenceLoss(dpoLoss({ beta }));

  const pairs = rows.flatMap((row, i) => tokenizePair(model, row, i, maxLength) ?? []);

  // The reference is the model without the adapter. It does not change, so it is asked once.
  const completions = pairs.flatMap(({ promptTokens, chosenTokens, rejectedTokens }) =>
    [chosenTokens, rejectedTokens].map((tokens) => ({
      from: promptTokens.length - 1,
      all: [...promptTokens, ...tokens],
    })),
  );
  const scored = await sequenceLogProbs(
    model,
    completions.map(({ all }) => all),
  );
  const references = completions.map(({ from }, i) => scored[i]!.logProbs.subarray(from));
  const referred = pairs.map((pair, i) => {
    return { ...pair, reference: { chosen: references[2 * i]!, rejected: references[2 * i + 1]! } };
  });

  const order = new RowOrder(referred.length, seed);
  const steps = Math.ceil((epochs * referred.length) / batchSize);
  for (let step = 0; step < steps; step++) {
    const size = Math.min(batchSize, epochs * referred.length - step * batchSize);
    const chosen = Array.from({ length: size }, (_, i) => referred[order.at(step * batchSize + i)]!);

    // Rows of chosen and rejected in turn, which stay in one pass: the loss compares the two.
    const { loss: value } = await trainer.forwardBackward(annotatePairs(chosen), loss);
    await trainer.optimStep({ learningRate: learningRate * (1 - step / steps) });
    onStep?.(step, value);
  }
  return trainer;
}
