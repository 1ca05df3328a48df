import { type Compiled, compile, type Tensor } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER, perAdapter } from '../model/adapter.js';
import type { Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';
import { MAX_TOKENS_PER_PASS, passesOf, passInput } from './passes.js';
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
        return predictionLogProbs(network, weights, passInput(tokens), {
          hooks: adapter.hooks(parameters),
          temperature,
        });
      },
      { name: 'logProbs' },
    ),
);

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
  const { adapter = NO_ADAPTER, temperature = 1, maxTokensPerPass = MAX_TOKENS_PER_PASS } = options;
  if (!(temperature > 0) || !Number.isFinite(temperature)) {
    throw new PosttrainError('SAMPLING', `logProbs: temperature must be positive, not ${temperature}`);
  }
  const passes = passesOf(sequences, {
    ...{ where: 'logProbs', shortest: 2, longest: network.config.maxPositionEmbeddings, maxTokens: maxTokensPerPass },
  });
  const results = new Array<SequenceLogProbs>(sequences.length);
  const scoring = scoringOf(network, adapter);
  for (const { sequences: rows, tokens, width } of passes) {
    const scored = await scoring(weights, adapter.parameters, tokens, temperature);
    const columns = await Promise.all([scored.logProbs.data(), scored.entropies.data(), scored.isGreedy.data()]);
    rows.forEach((sequence, row) => {
      const [from, to] = [row * (width - 1), row * (width - 1) + sequences[sequence]!.length - 1];
      const [logProbs, entropies, isGreedy] = columns.map((column) => Float32Array.from(column.subarray(from, to)));
      results[sequence] = { logProbs: logProbs!, entropies: entropies!, isGreedy: isGreedy! };
    });
  }
  return results;
}
