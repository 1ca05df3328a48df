import { type Compiled, compile, type Tensor } from '@posttrain/core-tensor';
import {
  assertArgument,
  boolean,
  type Given,
  integer,
  number,
  options,
  type TokenLogProb,
} from '@posttrain/interfaces';
import { contextOf, NO_ADAPTER, perAdapter, rowInputsOf } from '../model/adapter.js';
import { adapterInputsOption, adapterOption } from '../model/adapter-option.js';
import type { PassInfo, Weights } from '../model/layers.js';
import type { RunnableModel } from '../model/network.js';
import { checkNumbers } from '../runner/non-finite.js';
import { checkSequences, gridOf, maxTokensPerPass, passesOf, passInput } from './passes.js';
import { logProbsOf } from './prediction-log-probs.js';
import { logProbDeviations, tokenRanks, topLogProbs } from './top-log-probs.js';

export const logProbsShape = {
  adapter: adapterOption,
  /** What the adapter reads of each sequence, beside what it finds in the tokens. Default: nothing. */
  adapterInputs: adapterInputsOption,
  /** Divides the logits, as the sampler does. Default 1. */
  temperature: number({ default: 1, above: 0 }),
  /** Most tokens, padding included, that one pass holds; a longer sequence has a pass of its own. Default 4096. */
  maxTokensPerPass,
  /** Also give this many most likely tokens at every place, at most the vocabulary. Default 0. */
  topLogProbs: integer({ default: 0, min: 0 }),
  /** Also give the rank of every token among all that could have come. Default false. */
  ranks: boolean({ default: false }),
  /** Also give mean and deviation of the log-probability that a token drawn there would have. Default false. */
  moments: boolean({ default: false }),
};
const logProbsOptions = options('logProbs', logProbsShape);
/** Options of `sequenceLogProbs`. */
export type LogProbsOptions = Given<typeof logProbsOptions>;

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
  /**
   * What `moments` asked for: μ and σ of log p(z | tokens[0..t]) over the vocabulary, z drawn from the model: what Min-K%++ (arXiv 2404.02936) sets
   * log-probabilities against, as `minKProb` of `@posttrain/eval` takes it.
   */
  readonly moments?: { readonly means: Float32Array; readonly deviations: Float32Array };
}

type Column = 'logProbs' | 'entropies' | 'isGreedy' | 'ranks' | 'deviations';

interface Scored {
  /** [b, s] each. */
  readonly columns: { readonly [Name in Column]?: Tensor };
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
    moments: number,
    rowInputs: PassInfo['inputs'] | undefined,
  ],
  Scored
>;

const scoringOf = perAdapter(
  (network, adapter): Scoring =>
    compile(
      (weights, parameters, tokens, targets, temperature, top, ranks, moments, rowInputs) => {
        const options = { hooks: adapter.hooks(parameters), temperature };
        const hidden = network.hidden(weights, passInput(tokens, rowInputs), options.hooks);
        const { logProbs, entropies, isGreedy, logSumExps } = logProbsOf(network, weights, hidden, targets, options);
        const count = targets.size;
        const flat = hidden.reshape([count, -1]);
        const columns: { [Name in Column]?: Tensor } = { logProbs, entropies, isGreedy };
        if (ranks === 1) {
          const own = logProbs.add(logSumExps).reshape([count]);
          columns.ranks = tokenRanks(network, weights, flat, own, options).reshape(targets.shape);
        }
        if (moments === 1) {
          const known = { logSumExps: logSumExps.reshape([count]), entropies: entropies.reshape([count]) };
          columns.deviations = logProbDeviations(network, weights, flat, known, options).reshape(targets.shape);
        }
        if (top === 0) return { columns };
        const states = { states: flat, logSumExps: logSumExps.reshape([count]) };
        return { columns, top: topLogProbs(network, weights, states, top, options) };
      },
      { name: 'logProbs' },
    ),
);

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
  given: LogProbsOptions = {},
): Promise<SequenceLogProbs[]> {
  const settings = logProbsOptions.read(given);
  const { adapter = NO_ADAPTER, adapterInputs = [], temperature, topLogProbs: top } = settings;
  const { vocabSize } = network.config;
  const longest = contextOf(network.config, adapter);
  const within = top <= vocabSize;
  assertArgument('logProbs', 'topLogProbs', top, within, `a whole number from 0 to ${vocabSize}, the vocabulary`);
  // The last token is predicted, and so never an input.
  checkSequences('logProbs', sequences, { shortest: 2, longest: longest + 1, vocabSize });
  const inputs = sequences.map((tokens) => tokens.slice(0, -1));
  const results = new Array<SequenceLogProbs>(sequences.length);
  const scoring = scoringOf(network, adapter);
  for (const { sequences: rows, tokens, width } of passesOf(inputs, {
    longest,
    maxTokens: settings.maxTokensPerPass,
  })) {
    const next = rows.map((sequence) => sequences[sequence]!.slice(1));
    const targets = gridOf(next, tokens.shape[0]!, width);
    const [ofRows, inputsOf] = [rows.map((i) => sequences[i]!), rows.map((i) => adapterInputs[i] ?? {})];
    const rowInputs = rowInputsOf(adapter, ofRows, tokens.shape as [number, number], inputsOf);
    const how = [temperature, top, Number(settings.ranks), Number(settings.moments)] as const;
    const scored = await scoring(weights, adapter.parameters, tokens, targets, ...how, rowInputs);
    const columns = await Promise.all(
      Object.entries(scored.columns).map(async ([name, column]) => [name, await column.data()] as const),
    );
    const best = scored.top && [await scored.top.tokens.data(), await scored.top.logProbs.data()];
    rows.forEach((sequence, row) => {
      const [from, to] = [row * width, row * width + inputs[sequence]!.length];
      const { logProbs, entropies, isGreedy, ranks, deviations } = Object.fromEntries(
        columns.map(([name, column]) => [name, Float32Array.from(column.subarray(from, to))]),
      ) as Record<'logProbs' | 'entropies' | 'isGreedy', Float32Array> & { [Name in Column]?: Float32Array };
      results[sequence] = {
        ...{ logProbs, entropies, isGreedy },
        ...(ranks && { ranks }),
        ...(deviations && { moments: { means: entropies.map((entropy) => -entropy), deviations } }),
        ...(best && { topLogProbs: alternatives(best[0]!, best[1]!, from, to, top) }),
      };
    });
    const found = rows.map((sequence) => results[sequence]!.logProbs);
    await checkNumbers('logProbs', found, { weights, adapter });
  }
  return results;
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
