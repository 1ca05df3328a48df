import { type Compiled, compile, type Tensor, tensor } from '@posttrain/core-tensor';
import { type Adapter, perAdapter } from '../model/adapter.js';
import type { KvCache } from '../model/kv-cache.js';
import type { Weights } from '../model/layers.js';
import type { PagedInput, RunnableModel } from '../model/network.js';
import { roundUpToSize } from '../model/sizes.js';
import { checkNumbers } from '../runner/non-finite.js';
import { BLOCK_SIZE } from '../runner/paged-steps.js';
import type { ContinuationLogProbs } from './continuation-log-probs.js';
import { logProbsOf } from './prediction-log-probs.js';
import type { Continuation } from './prefix-tree.js';
import { packTrees, prefixOfAll, type SequenceTree, sequenceTrees } from './token-forest.js';

/** A prefix that all sequences share has a pass of its own from this many tokens on. */
const LEAST_PREFIX = 64;
/** Trees of more tokens are split: attention over a row grows with the square. */
const LARGEST_TREE = 512;
/** Bytes of one layer's attention scores in a pass, as its rows are counted. */
const SCORE_BYTES = 2 ** 27;

type Given = Omit<PagedInput, 'cache' | 'blockSize'>;
type Inputs = [weights: Weights, parameters: unknown, cache: KvCache, given: Given];

interface Steps {
  readonly prefix: Compiled<Inputs, KvCache>;
  /** `at` int32 [m]: the tokens of the grid, counted through, that predict `targets` int32 [m]. */
  readonly score: Compiled<
    [...Inputs, at: Tensor, targets: Tensor],
    { readonly logProbs: Tensor; readonly isGreedy: Tensor }
  >;
}

const stepsOf = perAdapter(
  (network, adapter): Steps => ({
    prefix: compile(
      (weights, parameters, cache, given) =>
        network.extendPaged(weights, { ...given, cache, blockSize: BLOCK_SIZE }, adapter.hooks(parameters)).cache,
      { name: 'packedPrefix' },
    ),
    score: compile(
      (weights, parameters, cache, given, at, targets) => {
        const hooks = adapter.hooks(parameters);
        const { hidden } = network.extendPaged(weights, { ...given, cache, blockSize: BLOCK_SIZE }, hooks);
        const [b, s, size] = hidden.shape as [number, number, number];
        const states = hidden
          .reshape([b * s, size])
          .gather(at, 0)
          .expandDims(0);
        const { logProbs, isGreedy } = logProbsOf(network, weights, states, targets.expandDims(0), { hooks });
        return { logProbs, isGreedy };
      },
      { name: 'packedLogProbs' },
    ),
  }),
);

/** What bounds a packed pass: see the options of `continuationLogProbs`. */
export interface PackedLimits {
  readonly maxTokensPerPass: number;
  readonly maxCacheBytes: number;
}

/**
 * `continuationLogProbs` by rows of trees (tree attention, arXiv 2305.09781): sequences that begin alike stand in one tree, whose tokens see
 * their ancestors; trees fill rows of one width, side by side; and what all begin with is computed once, in a cache that all rows read.
 * So no token is computed twice, there is next to no padding, all passes are of one shape, and the output layer sees what is asked about only.
 * Undefined where that does not go: states of recurrences are of sequences, and sequences longer than a pass have a way of their own.
 */
export async function packedLogProbs(
  { network, weights }: RunnableModel,
  continuations: readonly Continuation[],
  adapter: Adapter,
  { maxTokensPerPass, maxCacheBytes }: PackedLimits,
): Promise<ContinuationLogProbs[] | undefined> {
  if (continuations.length < 2 || network.stateShapes.length > 0) return undefined;
  const common = prefixOfAll(continuations);
  const prefix = common >= LEAST_PREFIX ? common - (common % BLOCK_SIZE) : 0;
  const longest = Math.max(...continuations.map(({ tokens }) => tokens.length - 1 - prefix));
  const largest = Math.min(LARGEST_TREE, maxTokensPerPass);
  if (prefix > maxTokensPerPass || longest > largest) return undefined;
  const trees = sequenceTrees(continuations, prefix, largest);
  const { hiddenSize, numAttentionHeads } = network.config;
  const { width, rows, rowsPerPass } = packTrees(trees, {
    hidden: hiddenSize,
    prefix,
    rowsOf: (size) =>
      Math.floor(
        Math.min(
          maxTokensPerPass / size,
          maxCacheBytes / Math.max(1, network.cacheBytesPerToken) / (size + prefix),
          SCORE_BYTES / 4 / numAttentionHeads / size / (size + prefix),
        ),
      ),
  });
  const steps = stepsOf(network, adapter);
  const shared = prefix / BLOCK_SIZE;
  const own = width / BLOCK_SIZE;
  // Block 0 is nobody's; those of the prefix follow, then those of the rows.
  let cache = network.newPools(BLOCK_SIZE * (1 + shared + rowsPerPass * own));
  if (prefix > 0) {
    const given = {
      tokens: int32(continuations[0]!.tokens.slice(0, prefix), [1, prefix]),
      lengths: int32([0], [1]),
      table: int32(range(1, shared), [1, shared]),
      slots: int32(range(BLOCK_SIZE, prefix), [1, prefix]),
    };
    cache = await steps.prefix(weights, adapter.parameters, cache, given);
  }
  const results = continuations.map(({ tokens, start }) => ({
    logProbs: new Float32Array(tokens.length - start),
    isGreedy: new Float32Array(tokens.length - start),
  }));
  const passes = Array.from({ length: Math.ceil(rows.length / rowsPerPass) }, (_, i) =>
    gridOfTrees(rows.slice(i * rowsPerPass, (i + 1) * rowsPerPass), rowsPerPass, width),
  );
  const most = roundUpToSize(Math.max(...passes.map(({ asked }) => asked.length)), 64);
  const first = BLOCK_SIZE * (1 + shared);
  const table = Array.from({ length: rowsPerPass }, (_, row) => [
    ...range(1, shared),
    ...range(1 + shared + row * own, own),
  ]);
  for (const { tokens, depths, visible, asked } of passes) {
    const shape = [rowsPerPass, width];
    const given = {
      tokens: tensor(tokens, shape),
      lengths: int32(new Array(rowsPerPass).fill(prefix), [rowsPerPass]),
      table: int32(table.flat(), [rowsPerPass, shared + own]),
      slots: int32(range(first, rowsPerPass * width), shape),
      tree: { depths: tensor(depths, shape), visible: tensor(visible, [...shape, width]) },
    };
    const at = int32(asked.map((one) => one.at).concat(new Array(most - asked.length).fill(0)), [most]);
    const targets = int32(asked.map(({ target }) => target).concat(new Array(most - asked.length).fill(0)), [most]);
    const output = await steps.score(weights, adapter.parameters, cache, given, at, targets);
    const [logProbs, isGreedy] = await Promise.all([output.logProbs.data(), output.isGreedy.data()]);
    asked.forEach(({ sequence, index }, i) => {
      results[sequence]!.logProbs[index] = logProbs[i]!;
      results[sequence]!.isGreedy[index] = isGreedy[i]!;
    });
    await checkNumbers('score', [Float32Array.from(logProbs.subarray(0, asked.length))], { weights, adapter });
  }
  return results;
}

/** Rows of trees as a grid: `depths` behind the prefix, who sees whom, and what is asked of its tokens, counted through. */
function gridOfTrees(rows: readonly (readonly SequenceTree[])[], count: number, width: number) {
  const tokens = new Int32Array(count * width);
  const depths = new Int32Array(count * width);
  const visible = new Int32Array(count * width * width);
  const asked: SequenceTree['asked'] = [];
  // Padding sees itself, so that its softmax is one of something.
  for (let i = 0; i < count * width; i++) visible[i * width + (i % width)] = 1;
  rows.forEach((trees, row) => {
    let place = 0;
    for (const tree of trees) {
      const from = row * width + place;
      tree.tokens.forEach((token, i) => {
        const [own, parent] = [from + i, tree.parents[i]!];
        tokens[own] = token;
        if (parent < 0) return;
        const before = from + parent;
        depths[own] = depths[before]! + 1;
        // What its parent sees, which is nothing beyond the parent's own place.
        visible.copyWithin(own * width + place, before * width + place, before * width + place + parent + 1);
      });
      for (const one of tree.asked) asked.push({ ...one, at: from + one.at });
      place += tree.tokens.length;
    }
  });
  return { tokens, depths, visible, asked };
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);
const int32 = (values: readonly number[], shape: readonly number[]): Tensor =>
  tensor(Int32Array.from(values), shape, 'int32');
