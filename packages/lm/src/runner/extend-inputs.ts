import { assertArgument, PosttrainError } from '@posttrain/interfaces';
import type { ModelConfig } from '../config/index.js';
import { type Adapter, contextOf, sameCache } from '../model/adapter.js';
import { assertTokenIds } from '../tokenizer/token-ids.js';
import type { RowSoftmax } from './step-memory.js';

/** A sequence in a runner's cache. Opaque: only the runner that made it can use it. */
export interface CachedSequence {
  /** Tokens computed so far. */
  readonly tokens: readonly number[];
  readonly length: number;
}

/** One sequence of a runner's pass: which tokens are added to it, and what is asked about them. */
export interface ExtendInput {
  readonly sequence: CachedSequence;
  /** At least one. */
  readonly tokens: readonly number[];
  /**
   * Tokens that are a tree: the place in `tokens` of the one that each follows, or −1 for those that follow the sequence. A
   * token sees what it follows and no other. Until `keep` has chosen a path, the sequence is of no other use. Default: each
   * follows the one before it.
   */
  readonly parents?: readonly number[];
  readonly adapter?: Adapter;
  /** Also give softmax(logits / temperature); 0 counts as 1. Computed for all inputs when one of them has this. */
  readonly temperature?: number;
}

/** What a runner's pass returns of every position. */
export interface ExtendOptions {
  /** Logits after the last token of each input (the default), or after every token of it. */
  readonly logits?: 'last' | 'all';
  /** Also give the final hidden states that the logits are computed from. Default false. */
  readonly hidden?: boolean;
  /**
   * Also give what the output layer says of the states after these layers, from 0 (the first block's input) to the number of
   * layers − 1, which are not normalised for it: see `Network.innerStates`. Default: none.
   */
  readonly innerLayers?: readonly number[];
  /** How many tokens the longest of the sequences will come to have, if that is known: memory is asked for once. */
  readonly room?: number;
}

/** What `extend` computed for one input. Valid until the next call; copy what is to be kept. */
export interface ExtendResult {
  /** Rows [vocabulary]: one, or one per token. */
  readonly logits: readonly Float32Array[];
  /** Rows [width] beside them: final, normalised hidden states. */
  readonly hidden?: readonly Float32Array[];
  /** With `innerLayers`, beside them: logits [vocabulary] of each of these layers, in their order. */
  readonly inner?: readonly (readonly Float32Array[])[];
  /** The softmax of each of them, where the input has a temperature. */
  readonly softmax?: readonly RowSoftmax[];
}

/** A checked input; `Sequence` is the runner's own. */
export interface ExtendRow<Sequence> {
  readonly sequence: Sequence;
  /** At least one. */
  readonly tokens: readonly number[];
  readonly parents?: readonly number[] | undefined;
  readonly adapter: Adapter;
  readonly temperature: number | undefined;
}

/** How many of its tokens each token of an input is behind: 0 for those that follow the sequence. */
export function depthsOf(count: number, parents?: readonly number[]): number[] {
  const depths: number[] = [];
  for (let i = 0; i < count; i++) depths.push(parents ? (depths[parents[i]!] ?? -1) + 1 : i);
  return depths;
}

/** Throws for layers that the model does not have. */
export function checkInnerLayers(
  { numHiddenLayers }: Pick<ModelConfig, 'numHiddenLayers'>,
  layers: readonly number[],
  where: string,
): void {
  const isLayer = (layer: number) => Number.isInteger(layer) && layer >= 0 && layer < numHiddenLayers;
  const areLayers = Array.isArray(layers) && layers.every(isLayer) && new Set(layers).size === layers.length;
  const expects = `a list of layers below the last, each once: of 0 to ${numHiddenLayers - 1} for this model`;
  assertArgument(where, 'innerLayers', layers, areLayers, expects);
}

/** Throws for rows that no pass can compute. */
export function checkExtend(
  config: Pick<ModelConfig, 'maxPositionEmbeddings' | 'vocabSize'>,
  rows: readonly ExtendRow<{ readonly length: number; readonly adapter: Adapter | undefined }>[],
  maxTokensPerPass: number,
): void {
  const fail = (i: number, why: string): never => {
    throw new PosttrainError('MODEL_RUNNER', `extend: input ${i} ${why}`);
  };
  if (new Set(rows.map(({ sequence }) => sequence)).size < rows.length) {
    throw new PosttrainError('MODEL_RUNNER', 'extend: a sequence is given twice; fork it first');
  }
  rows.forEach(({ sequence, tokens, parents, adapter }, i) => {
    if (tokens.length === 0) fail(i, 'has no tokens');
    assertTokenIds(config.vocabSize, tokens, `extend: input ${i}`);
    if (parents) {
      const isTree =
        parents.length === tokens.length && parents.every((at, n) => Number.isInteger(at) && at >= -1 && at < n);
      if (!isTree)
        fail(i, `needs a parent for each of its ${tokens.length} tokens: the place of an earlier one, or -1`);
      if (tokens.length > maxTokensPerPass)
        fail(i, `is a tree of more than maxTokensPerPass (${maxTokensPerPass}) tokens`);
    }
    const depths = depthsOf(tokens.length, parents);
    const total = sequence.length + 1 + depths.reduce((a, b) => Math.max(a, b), 0);
    const limit = contextOf(config, adapter);
    if (total > limit) fail(i, `would make a sequence of ${total} tokens; the context holds ${limit}`);
    const missing = adapter.rowInputs?.names.find((name) => adapter.inputs?.[name] === undefined);
    if (missing !== undefined) fail(i, `lacks ${missing}, which ${adapter.name} reads of a sequence: see adapterFor`);
    if (adapter.earlierPass && adapter.virtualTokens) fail(i, 'has virtual tokens and an earlier pass: one of them');
    if (sequence.adapter && !sameCache(sequence.adapter, adapter)) {
      fail(i, `has another adapter (${adapter.name}) than what its past was computed with (${sequence.adapter.name})`);
    }
  });
}
