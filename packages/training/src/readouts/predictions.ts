import type { Tensor } from '@posttrain/core-tensor';
import { logProbsOf } from '@posttrain/lm';
import type { Readout } from '../loss/loss.js';

/** What is known of each prediction of a pass, float32 [b, s - 1] each. */
export interface Predictions extends Readonly<Record<string, Tensor>> {
  /** log p of each target token, natural logarithm. */
  readonly logProbs: Tensor;
  /** Entropy of the distribution it was predicted from, in nats. */
  readonly entropies: Tensor;
  /** 1 where no token was more likely; no gradient. */
  readonly isGreedy: Tensor;
  /** log Σ e^logit over the vocabulary, of the logits divided by the temperature. */
  readonly logSumExps: Tensor;
}

/** Options of the readout `predictions`. */
export interface PredictionsOptions {
  /** Divides the logits before the softmax. Default 1. */
  readonly temperature?: number;
}

const known = new Map<number, Readout<Predictions>>();

/** How the pass predicts the tokens of its rows. The logits exist for a chunk of the vocabulary at a time. */
export function predictions({ temperature = 1 }: PredictionsOptions = {}): Readout<Predictions> {
  const made: Readout<Predictions> = known.get(temperature) ?? {
    name: 'predictions',
    per: 'prediction',
    compute({ network, weights, hooks, hidden, batch: { tokens } }) {
      const s = tokens.shape[1]!;
      const { logProbs, entropies, isGreedy, logSumExps } = logProbsOf(
        ...([network, weights, hidden.slice(1, 0, s - 1), tokens.slice(1, 1)] as const),
        { hooks, temperature },
      );
      return { logProbs, entropies, isGreedy, logSumExps };
    },
  };
  known.set(temperature, made);
  return made;
}
