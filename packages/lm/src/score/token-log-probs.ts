import { type Compiled, compile, type Tensor } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError, showValue, type TokenLogProb } from '@posttrain/interfaces';
import { type Adapter, contextOf, NO_ADAPTER, perAdapter, type RowInputs, rowInputsOf } from '../model/adapter.js';
import type { PassInfo, Weights } from '../model/layers.js';
import type { RunnableModel } from '../model/network.js';
import { checkNumbers } from '../runner/non-finite.js';
import { checkSequences, gridOf, MAX_TOKENS_PER_PASS, passesOf, passInput } from './passes.js';
import { logProbsOf } from './prediction-log-probs.js';
import { tokenRanks, topLogProbs } from './top-log-probs.js';

/** Options of `sequenceLogProbs`. */
export interface LogProbsOptions {
  readonly adapter?: Adapter;
  /** What the adapter reads of each sequence, beside what it finds in the tokens. Default: nothing. */
  readonly adapterInputs?: readonly RowInputs[];
  /** Divides the logits, as the sampler does. Default 1. */
  readonly temperature?: number;
  /** Most tokens, padding included, that one pass holds; a longer sequence has a pass of its own. Default 4096. */
  readonly maxTokensPerPass?: number;
  /** Also give this many most likely tokens at every place. Default 0. */
  readonly topLogProbs?: number;
  /** Also give the rank of every token among all that could have come. Default false. */
  readonly ranks?: boolean;
}

/** What the model says of one sequence: a number for each token but the first. */
export interface SequenceLogProbs {
  /** Entry t is log p(tokens[t + 1] | tokens[0..t]), natural log; one fewer than the tokens. */
  readonly logProbs: Float32Array;
  /** Entropy of the distribution that token t + 1 was predicted from, in nats. */
  readonly entropies: Float32Array;
  /** 1 where no token was more likely than token t + 1, else 0. */
  readonly isGreedy: Float32Array;
  /** What `topLogProbs` asked for: at each place the most likely tokens, most likely first. */
  readonly topLogProbs?: readonly (readonly TokenLogProb[])[];
  /** What `ranks` asked for: 1 + how many tokens were more likely; as likely ones, up to rounding, share a rank. */
  readonly ranks?: Float32Array;
}

interface Scored {
  /** [b, s]; ranks last, where they are asked for. */
  readonly columns: readonly Tensor[];
  /** [b · s, k]. */
  readonly top?: { readonly tokens: Tensor; readonly logProbs: Tensor };
}

type Scoring = Compiled<
  [
    weights: Weights,
    parameters: unknown,
    tokens: Tensor,
    targets: Tensor,
    temperature: number,
    top: number,
    ranks: number,
    rowInputs: PassInfo['inputs'] | undefined,
  ],
  Scored
>;

const scoringOf = perAdapter(
  (network, adapter): Scoring =>
    compile(
      (weights, parameters, tokens, targets, temperature, top, ranks, rowInputs) => {
        const options = { hooks: adapter.hooks(parameters), temperature };
        const hidden = network.hidden(weights, passInput(tokens, rowInputs), options.hooks);
        const { logProbs, entropies, isGreedy, logSumExps } = logProbsOf(network, weights, hidden, targets, options);
        const count = targets.size;
        const flat = hidden.reshape([count, -1]);
        const columns = [logProbs, entropies, isGreedy];
        if (ranks === 1) {
          const own = logProbs.add(logSumExps).reshape([count]);
          columns.push(tokenRanks(network, weights, flat, own, options).reshape(targets.shape));
        }
        if (top === 0) return { columns };
        const states = { states: flat, logSumExps: logSumExps.reshape([count]) };
        return { columns, top: topLogProbs(network, weights, states, top, options) };
      },
      { name: 'logProbs' },
    ),
);

export const LOG_PROBS_OPTIONS = [
  ...['adapter', 'adapterInputs', 'temperature', 'maxTokensPerPass', 'topLogProbs', 'ranks'],
] as const;

/**
 * Log-probabilities of given token sequences, each of at least two tokens and at most one more than the context. Sequences
 * of similar length are padded and run together; the result does not depend on how. The logits exist for a chunk of tokens
 * at a time only.
 *
 * @throws NonFiniteLogitsError where they are not numbers, naming the tensor to blame
 */
export async function sequenceLogProbs(
  { network, weights }: RunnableModel,
  sequences: readonly (readonly number[])[],
  options: LogProbsOptions = {},
): Promise<SequenceLogProbs[]> {
  assertKnownOptions('logProbs', options, LOG_PROBS_OPTIONS);
  const {
    adapter = NO_ADAPTER,
    adapterInputs = [],
    temperature = 1,
    maxTokensPerPass = MAX_TOKENS_PER_PASS,
    topLogProbs: top = 0,
    ranks: withRanks = false,
  } = options;
  const { vocabSize } = network.config;
  const longest = contextOf(network.config, adapter);
  checkScoring(temperature, top, vocabSize);
  // The last token is predicted, and so never an input.
  checkSequences('logProbs', sequences, { shortest: 2, longest: longest + 1, vocabSize });
  const inputs = sequences.map((tokens) => tokens.slice(0, -1));
  const results = new Array<SequenceLogProbs>(sequences.length);
  const scoring = scoringOf(network, adapter);
  for (const { sequences: rows, tokens, width } of passesOf(inputs, { longest, maxTokens: maxTokensPerPass })) {
    const next = rows.map((sequence) => sequences[sequence]!.slice(1));
    const targets = gridOf(next, tokens.shape[0]!, width);
    const [ofRows, given] = [rows.map((i) => sequences[i]!), rows.map((i) => adapterInputs[i] ?? {})];
    const rowInputs = rowInputsOf(adapter, ofRows, tokens.shape as [number, number], given);
    const how = [temperature, top, Number(withRanks)] as const;
    const scored = await scoring(weights, adapter.parameters, tokens, targets, ...how, rowInputs);
    const columns = await Promise.all(scored.columns.map((column) => column.data()));
    const best = scored.top && [await scored.top.tokens.data(), await scored.top.logProbs.data()];
    rows.forEach((sequence, row) => {
      const [from, to] = [row * width, row * width + inputs[sequence]!.length];
      const [logProbs, entropies, isGreedy, ranks] = columns.map((column) =>
        Float32Array.from(column.subarray(from, to)),
      );
      results[sequence] = {
        ...{ logProbs: logProbs!, entropies: entropies!, isGreedy: isGreedy! },
        ...(ranks && { ranks }),
        ...(best && { topLogProbs: alternatives(best[0]!, best[1]!, from, to, top) }),
      };
    });
    const found = rows.map((sequence) => results[sequence]!.logProbs);
    await checkNumbers('logProbs', found, { weights, adapter });
  }
  return results;
}

function checkScoring(temperature: number, top: number, vocabulary: number): void {
  if (!(temperature > 0) || !Number.isFinite(temperature)) {
    throw new PosttrainError('SAMPLING', `logProbs: temperature must be positive, not ${showValue(temperature)}`);
  }
  if (Number.isInteger(top) && top >= 0 && top <= vocabulary) return;
  throw new PosttrainError(
    'SAMPLING',
    `logProbs: topLogProbs must be an integer from 0 to ${vocabulary}, not ${showValue(top)}`,
  );
}

const alternatives = (
  tokens: ArrayLike<number>,
  logProbs: ArrayLike<number>,
  from: number,
  to: number,
  top: number,
): TokenLogProb[][] =>
  Array.from({ length: to - from }, (_, t) =>
    Array.from({ length: top }, (__, i) => {
      const at = (from + t) * top + i;
      return { tokenId: tokens[at]!, logProb: logProbs[at]! };
    }),
  );
