import { type Compiled, compile, iota, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER, perAdapter } from '../model/adapter.js';
import type { Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';
import { roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';
import { type PredictionLogProbs, predictionLogProbs } from './prediction-log-probs.js';

export interface LogProbsOptions {
  readonly adapter?: Adapter;
  /** Divides the logits, as the sampler does. Default 1. */
  readonly temperature?: number;
  /** Most tokens, padding included, that one pass holds; a longer sequence has a pass of its own. Default 4096. */
  readonly maxTokensPerPass?: number;
}

export interface SequenceLogProbs {
  /** Entry t is log p(tokens[t + 1] | tokens[0..t]), natural log; one fewer than the tokens. */
  readonly logProbs: Float32Array;
  /** Entropy of the distribution that token t + 1 was predicted from, in nats. */
  readonly entropies: Float32Array;
  /** 1 where no token was more likely than token t + 1, else 0. */
  readonly isGreedy: Float32Array;
}

type Scoring = Compiled<
  [weights: Weights, parameters: unknown, tokens: Tensor, temperature: number],
  PredictionLogProbs
>;

const scoringOf = perAdapter(
  (network, adapter): Scoring =>
    compile(
      (weights, parameters, tokens, temperature) => {
        const [b, s] = tokens.shape as [number, number];
        // Padding is on the right and attention is causal, so no real token sees it.
        const input = { tokens, positions: iota([b, s], 1), segments: zeros([b, s], 'int32') };
        return predictionLogProbs(network, weights, input, { hooks: adapter.hooks(parameters), temperature });
      },
      { name: 'logProbs' },
    ),
);

const LENGTH_STEP = 16;

/**
 * Log-probabilities of given token sequences, each of at least two tokens. Sequences of similar length are padded and
 * run together; the result does not depend on how. The logits exist for a chunk of tokens at a time only.
 */
export async function sequenceLogProbs(
  network: Network,
  weights: Weights,
  sequences: readonly (readonly number[])[],
  options: LogProbsOptions = {},
): Promise<SequenceLogProbs[]> {
  assertKnownOptions('logProbs', options, ['adapter', 'temperature', 'maxTokensPerPass']);
  const { adapter = NO_ADAPTER, temperature = 1, maxTokensPerPass = 4096 } = options;
  if (!(temperature > 0) || !Number.isFinite(temperature)) {
    throw new PosttrainError('SAMPLING', `logProbs: temperature must be positive, not ${temperature}`);
  }
  const limit = network.config.maxPositionEmbeddings;
  sequences.forEach((tokens, i) => {
    if (tokens.length >= 2 && tokens.length <= limit) return;
    throw new PosttrainError(
      'SEQUENCE_LENGTH',
      `logProbs: sequence ${i} has ${tokens.length} tokens; it needs 2 to ${limit}`,
    );
  });
  const results = new Array<SequenceLogProbs>(sequences.length);
  const order = sequences.map((_, i) => i).sort((a, b) => sequences[a]!.length - sequences[b]!.length);
  const scoring = scoringOf(network, adapter);
  for (let start = 0; start < order.length; ) {
    const { rows, width } = nextPass(order, start, sequences, maxTokensPerPass, limit);
    start += rows.length;
    const count = roundUpToPowerOfTwo(rows.length);
    const grid = new Int32Array(count * width);
    rows.forEach((sequence, row) => {
      grid.set(sequences[sequence]!, row * width);
    });
    const scored = await scoring(weights, adapter.parameters, tensor(grid, [count, width], 'int32'), temperature);
    const columns = await Promise.all([scored.logProbs.data(), scored.entropies.data(), scored.isGreedy.data()]);
    rows.forEach((sequence, row) => {
      const [from, to] = [row * (width - 1), row * (width - 1) + sequences[sequence]!.length - 1];
      const [logProbs, entropies, isGreedy] = columns.map((column) => Float32Array.from(column.subarray(from, to)));
      results[sequence] = { logProbs: logProbs!, entropies: entropies!, isGreedy: isGreedy! };
    });
  }
  return results;
}

/** As many sequences from `start` on as fit one pass when both sizes of the grid are rounded up. */
function nextPass(
  order: readonly number[],
  start: number,
  sequences: readonly (readonly number[])[],
  maxTokens: number,
  limit: number,
) {
  const rows: number[] = [];
  let width = 0;
  for (const sequence of order.slice(start, start + maxTokens)) {
    // Learned positions end at the limit, even for padding.
    const wider = Math.min(limit, roundUpToSize(Math.max(width, sequences[sequence]!.length), LENGTH_STEP));
    if (rows.length > 0 && wider * roundUpToPowerOfTwo(rows.length + 1) > maxTokens) break;
    rows.push(sequence);
    width = wider;
  }
  return { rows, width };
}
