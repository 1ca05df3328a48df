import { type Compiled, compile, type Tensor, tensor } from '@posttrain/core-tensor';
import { type Given, integer, options } from '@posttrain/interfaces';
import { contextOf, NO_ADAPTER, perAdapter } from '../model/adapter.js';
import { adapterInputsOption, adapterOption } from '../model/adapter-option.js';
import type { KvCache } from '../model/kv-cache.js';
import type { LayerHooks, Weights } from '../model/layers.js';
import type { Network, RunnableModel } from '../model/network.js';
import { roundUpToSize } from '../model/sizes.js';
import { checkNumbers } from '../runner/non-finite.js';
import { prefillChunk } from './in-pieces.js';
import { packedLogProbs } from './packed-log-probs.js';
import { checkSequences, gridOf, maxTokensPerPass, passesOf } from './passes.js';
import { logProbsOf } from './prediction-log-probs.js';
import { type Continuation, type PrefixNode, prefixTree } from './prefix-tree.js';
import { type SequenceLogProbs, sequenceLogProbs } from './token-log-probs.js';

const continuationOptions = options('continuationLogProbs', {
  adapter: adapterOption,
  /** What the adapter reads of each sequence, beside what it finds in the tokens. Default: nothing. */
  adapterInputs: adapterInputsOption,
  /** Most tokens, padding included, that one pass computes. Default 4096. */
  maxTokensPerPass,
  prefillChunk,
  /** KV-cache budget of one pass's rows in bytes; a single row may exceed it. Default 256 MiB. */
  maxCacheBytes: integer({ default: 2 ** 28, min: 1, decisive: false }),
});
/** Options of `continuationLogProbs`. */
export type ContinuationLogProbsOptions = Given<typeof continuationOptions>;

/** One number per token from `start` on. */
export type ContinuationLogProbs = Pick<SequenceLogProbs, 'logProbs' | 'isGreedy'>;

const CAPACITY_STEP = 64;

type Inputs = [
  weights: Weights,
  parameters: unknown,
  past: KvCache,
  /** int32 [b]: the row of `past` that each row goes on from. */
  rows: Tensor,
  tokens: Tensor,
  lengths: Tensor,
];

interface Steps {
  /** The cache with the tokens in it. */
  readonly prefix: Compiled<Inputs, KvCache>;
  /** What the tokens predict. */
  readonly score: Compiled<[...Inputs, targets: Tensor], { readonly logProbs: Tensor; readonly isGreedy: Tensor }>;
}

const extendRows = (network: Network, hooks: LayerHooks, [weights, , past, rows, tokens, lengths]: Inputs) => {
  const pick = (x: Tensor) => x.gather(rows, 0);
  const cache = { keys: past.keys.map(pick), values: past.values.map(pick) };
  return network.extend(weights, { tokens, lengths, cache }, hooks);
};

const stepsOf = perAdapter(
  (network, adapter): Steps => ({
    prefix: compile((...inputs: Inputs) => extendRows(network, adapter.hooks(inputs[1]), inputs).cache, {
      name: 'sharedPrefix',
    }),
    score: compile(
      (...[weights, parameters, past, rows, tokens, lengths, targets]: [...Inputs, targets: Tensor]) => {
        const hooks = adapter.hooks(parameters);
        const inputs: Inputs = [weights, parameters, past, rows, tokens, lengths];
        const { hidden } = extendRows(network, hooks, inputs);
        const { logProbs, isGreedy } = logProbsOf(network, weights, hidden, targets, { hooks });
        return { logProbs, isGreedy };
      },
      { name: 'continuationLogProbs' },
    ),
  }),
);

/**
 * Log-probabilities of the ends of sequences: of the tokens from `start` on. A prefix that several sequences have in common
 * (the question of several choices, the examples before many questions) is computed once. The results are those of
 * `sequenceLogProbs`, up to rounding of the engine.
 */
export async function continuationLogProbs(
  { network, weights }: RunnableModel,
  continuations: readonly Continuation[],
  given: ContinuationLogProbsOptions = {},
): Promise<ContinuationLogProbs[]> {
  const settings = continuationOptions.read(given);
  const { adapter = NO_ADAPTER, adapterInputs = [], maxTokensPerPass, prefillChunk, maxCacheBytes } = settings;
  const { vocabSize } = network.config;
  const longest = contextOf(network.config, adapter);
  checkSequences(
    'score',
    continuations.map(({ tokens }) => tokens),
    { shortest: 2, longest: longest + 1, vocabSize },
  );
  const results = new Array<ContinuationLogProbs>(continuations.length);
  // The cache of a shared prefix begins empty, for one pass over rows that differ in their tokens only: others are scored whole, and
  // those of models with recurrent layers, since the padding of a pass would be in their states.
  const isRecurrent = network.stateShapes.length > 0;
  const isWhole =
    isRecurrent || adapter.virtualTokens || adapter.earlierPass || adapter.rowInputs || adapterInputs.length > 0;
  const packed = !isWhole && (await packedLogProbs({ network, weights }, continuations, adapter, settings));
  if (packed) return packed;
  const { roots: wholeRoots, alone } = isWhole
    ? { roots: [], alone: continuations.map((_, i) => i) }
    : prefixTree(continuations);
  const roots = wholeRoots.map((root) => inChunks(root, maxTokensPerPass, prefillChunk));
  const plain = alone.map((i) => continuations[i]!);
  const scored = await sequenceLogProbs(
    { network, weights },
    plain.map(({ tokens }) => tokens),
    { adapter, maxTokensPerPass, prefillChunk, ...(isWhole && { adapterInputs }) },
  );
  scored.forEach(({ logProbs, isGreedy }, i) => {
    const from = plain[i]!.start - 1;
    results[alone[i]!] = { logProbs: logProbs.subarray(from), isGreedy: isGreedy.subarray(from) };
  });
  const steps = stepsOf(network, adapter);

  /** Computes nodes that go on from rows of `past`, a cache of `capacity` tokens, and all that follows them. */
  const compute = async (nodes: readonly PrefixNode[], past: KvCache, rows: readonly number[], capacity: number) => {
    const maxRows = Math.max(1, Math.floor(maxCacheBytes / network.cacheBytesPerToken / capacity));
    const limits = { longest, maxTokens: maxTokensPerPass, maxRows };
    const pieces = nodes.map(({ sequence, from, to }) => continuations[sequence]!.tokens.slice(from, to));
    for (const pass of passesOf(pieces, limits)) {
      const members = pass.sequences.map((i) => nodes[i]!);
      const count = pass.tokens.shape[0]!;
      const from = int32(
        pass.sequences.map((i) => rows[i]!),
        count,
      );
      const lengths = int32(
        members.map((node) => node.from),
        count,
      );
      const cache = await steps.prefix(weights, adapter.parameters, past, from, pass.tokens, lengths);
      const leaves = members.flatMap((node, row) => node.leaves.map((sequence) => ({ sequence, row, from: node.to })));
      await score(leaves, cache, limits);
      const children = members.flatMap((node, row) => node.children.map((child) => ({ child, row })));
      await compute(
        children.map(({ child }) => child),
        cache,
        children.map(({ row }) => row),
        capacity,
      );
    }
  };

  /** Scores what follows the first `from` tokens of sequences. */
  const score = async (leaves: readonly Leaf[], past: KvCache, limits: Parameters<typeof passesOf>[1]) => {
    const inputs = leaves.map(({ sequence, from }) => continuations[sequence]!.tokens.slice(from, -1));
    for (const { sequences, tokens, width } of passesOf(inputs, limits)) {
      const members = sequences.map((i) => leaves[i]!);
      const count = tokens.shape[0]!;
      const next = members.map(({ sequence, from }) => continuations[sequence]!.tokens.slice(from + 1));
      const rows = int32(
        members.map(({ row }) => row),
        count,
      );
      const lengths = int32(
        members.map(({ from }) => from),
        count,
      );
      const targets = gridOf(next, count, width);
      const output = await steps.score(weights, adapter.parameters, past, rows, tokens, lengths, targets);
      const [logProbs, isGreedy] = await Promise.all([output.logProbs.data(), output.isGreedy.data()]);
      members.forEach(({ sequence, from }, i) => {
        const { start, tokens: all } = continuations[sequence]!;
        const cut = (column: typeof logProbs) =>
          Float32Array.from(column.subarray(i * width + start - 1 - from, i * width + all.length - 1 - from));
        results[sequence] = { logProbs: cut(logProbs), isGreedy: cut(isGreedy) };
      });
      const found = members.map(({ sequence }) => results[sequence]!.logProbs);
      await checkNumbers('score', found, { weights, adapter });
    }
  };

  const byCapacity = new Map<number, PrefixNode[]>();
  for (const root of roots) {
    const capacity = capacityOf(root, continuations);
    byCapacity.set(capacity, [...(byCapacity.get(capacity) ?? []), root]);
  }
  for (const [capacity, nodes] of byCapacity) {
    const nothing = network.newCache(1, capacity);
    await compute(
      nodes,
      nothing,
      nodes.map(() => 0),
      capacity,
    );
  }
  return results;
}

/** A tree whose prefixes of more than `most` tokens are several of at most `chunk`, one behind the other. */
function inChunks(node: PrefixNode, most: number, chunk: number): PrefixNode {
  const { from, to, sequence } = node;
  const own = { ...node, children: node.children.map((child) => inChunks(child, most, chunk)) };
  if (to - from <= Math.max(most, chunk)) return own;
  const last = from + chunk * (Math.ceil((to - from) / chunk) - 1);
  let chain: PrefixNode = { ...own, from: last };
  for (let at = last; at > from; at -= chunk) {
    chain = { from: at - chunk, to: at, sequence, children: [chain], leaves: [] };
  }
  return chain;
}

interface Leaf {
  readonly sequence: number;
  /** Of the cache. */
  readonly row: number;
  readonly from: number;
}

/** Cache capacity of a subtree, with the padding of rows that run beside longer ones. */
function capacityOf(root: PrefixNode, continuations: readonly Continuation[]): number {
  let furthest = 0;
  let widest = 0;
  const visit = (node: PrefixNode) => {
    furthest = Math.max(furthest, node.to);
    widest = Math.max(widest, node.to - node.from);
    for (const leaf of node.leaves) widest = Math.max(widest, continuations[leaf]!.tokens.length - 1 - node.to);
    for (const child of node.children) visit(child);
  };
  visit(root);
  return roundUpToSize(furthest + roundUpToSize(widest, 16), CAPACITY_STEP);
}

const int32 = (values: readonly number[], count: number): Tensor => {
  const all = new Int32Array(count);
  all.set(values);
  return tensor(all, [count], 'int32');
};
