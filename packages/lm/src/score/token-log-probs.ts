import { type Compiled, compile, type Tensor, type TypedArray } from '@posttrain/core-tensor';
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
import type { KvCache } from '../model/kv-cache.js';
import type { LayerHooks, PassInfo, Weights } from '../model/layers.js';
import type { Network, RunnableModel } from '../model/network.js';
import { checkNumbers } from '../runner/non-finite.js';
import { BLOCK_SIZE } from '../runner/paged-steps.js';
import { goesInPieces, inPieces, type PieceInput, prefillChunk } from './in-pieces.js';
import { joinedLogProbs } from './joined-log-probs.js';
import { checkSequences, gridOf, maxTokensPerPass, passesOf, passInput } from './passes.js';
import { logProbsOf } from './prediction-log-probs.js';
import { logProbDeviations, tokenRanks, topLogProbs } from './top-log-probs.js';

export const logProbsShape = {
  adapter: adapterOption,
  /** What the adapter reads of each sequence, beside what it finds in the tokens. Default: nothing. */
  adapterInputs: adapterInputsOption,
  /** Divides the logits, as the sampler does. Default 1. */
  temperature: number({ default: 1, above: 0 }),
  /** Most tokens, padding included, that one pass holds; a longer sequence is computed in pieces. Default 4096. */
  maxTokensPerPass,
  prefillChunk,
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

/** What is asked about every place: numbers that say what the graph is. */
type Asked = [temperature: number, top: number, ranks: number, moments: number];

type Scoring = Compiled<
  [
    weights: Weights,
    parameters: unknown,
    tokens: Tensor,
    targets: Tensor,
    rowInputs: PassInfo['inputs'] | undefined,
    ...asked: Asked,
  ],
  Scored
>;

type PieceScoring = Compiled<
  [weights: Weights, parameters: unknown, cache: KvCache, input: PieceInput, targets: Tensor, ...asked: Asked],
  Scored & { readonly cache: KvCache }
>;

/** What final hidden states [b, s, width] say of the tokens int32 [b, s] behind them. */
function scoredOf(
  network: Network,
  weights: Weights,
  { hidden, targets, hooks }: { readonly hidden: Tensor; readonly targets: Tensor; readonly hooks: LayerHooks },
  [temperature, top, ranks, moments]: Asked,
): Scored {
  const options = { hooks, temperature };
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
}

const scoringOf = perAdapter((network, adapter): { readonly whole: Scoring; readonly piece: PieceScoring } => ({
  whole: compile(
    (weights, parameters, tokens, targets, rowInputs, ...asked: Asked) => {
      const hooks = adapter.hooks(parameters);
      const hidden = network.hidden(weights, passInput(tokens, rowInputs), hooks);
      return scoredOf(network, weights, { hidden, targets, hooks }, asked);
    },
    { name: 'logProbs' },
  ),
  piece: compile(
    (weights, parameters, cache, input, targets, ...asked: Asked) => {
      const hooks = adapter.hooks(parameters);
      const pass = network.extendPaged(weights, { ...input, cache, blockSize: BLOCK_SIZE }, hooks);
      return {
        ...scoredOf(network, weights, { hidden: pass.hidden, targets, hooks }, asked),
        cache: pass.cache,
      };
    },
    { name: 'logProbsOfPiece', donate: { 2: 'cache' } },
  ),
}));

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
  const how: Asked = [temperature, top, Number(settings.ranks), Number(settings.moments)];
  const isLong = ({ length }: readonly number[]) => goesInPieces(length, settings, adapter);
  const passes = passesOf(inputs, { longest, maxTokens: settings.maxTokensPerPass, leavesOut: isLong });
  for (const { sequences: rows, tokens, width } of passes) {
    const next = rows.map((sequence) => sequences[sequence]!.slice(1));
    const targets = gridOf(next, tokens.shape[0]!, width);
    const [ofRows, inputsOf] = [rows.map((i) => sequences[i]!), rows.map((i) => adapterInputs[i] ?? {})];
    const rowInputs = rowInputsOf(adapter, ofRows, tokens.shape as [number, number], inputsOf);
    const scored = await read(await scoring.whole(weights, adapter.parameters, tokens, targets, rowInputs, ...how));
    rows.forEach((sequence, row) => {
      results[sequence] = resultOf(scored, row * width, row * width + inputs[sequence]!.length, top);
    });
    const found = rows.map((sequence) => results[sequence]!.logProbs);
    await checkNumbers('logProbs', found, { weights, adapter });
  }
  for (const [sequence, own] of inputs.entries()) {
    if (!isLong(own)) continue;
    const pieces: SequenceLogProbs[] = [];
    await inPieces(network, own, settings.prefillChunk, async (cache, input, from, to) => {
      const targets = gridOf([sequences[sequence]!.slice(from + 1, to + 1)], 1, settings.prefillChunk);
      const scored = await scoring.piece(weights, adapter.parameters, cache, input, targets, ...how);
      pieces.push(resultOf(await read(scored), 0, to - from, top));
      return scored.cache;
    });
    results[sequence] = joinedLogProbs(pieces);
    await checkNumbers('logProbs', [results[sequence]!.logProbs], { weights, adapter });
  }
  return results;
}

/** What a pass has said, on the host. */
interface ReadScores {
  readonly columns: { readonly [Name in Column]?: TypedArray };
  readonly top?: { readonly tokens: ArrayLike<number>; readonly logProbs: ArrayLike<number> };
}

async function read({ columns, top }: Scored): Promise<ReadScores> {
  const all = await Promise.all(
    Object.entries(columns).map(async ([name, column]) => [name, await column.data()] as const),
  );
  return {
    columns: Object.fromEntries(all),
    ...(top && { top: { tokens: await top.tokens.data(), logProbs: await top.logProbs.data() } }),
  };
}

/** What it said of the places `from` … `to - 1`. */
function resultOf({ columns, top }: ReadScores, from: number, to: number, count: number): SequenceLogProbs {
  const { logProbs, entropies, isGreedy, ranks, deviations } = Object.fromEntries(
    Object.entries(columns).map(([name, column]) => [name, Float32Array.from(column.subarray(from, to))]),
  ) as Record<'logProbs' | 'entropies' | 'isGreedy', Float32Array> & { [Name in Column]?: Float32Array };
  return {
    ...{ logProbs, entropies, isGreedy },
    ...(ranks && { ranks }),
    ...(deviations && { moments: { means: entropies.map((entropy) => -entropy), deviations } }),
    ...(top && { topLogProbs: alternatives(top.tokens, top.logProbs, from, to, count) }),
  };
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
