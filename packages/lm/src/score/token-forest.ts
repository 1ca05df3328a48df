import { roundUpToSize } from '../model/sizes.js';
import { commonPrefix } from '../runner/sequence.js';
import { type Continuation, inTokenOrder } from './prefix-tree.js';

/** Sequences laid out so that tokens which begin several of them alike stand once. */
export interface SequenceTree {
  readonly tokens: number[];
  /** Of each token, the place in `tokens` of the one before it; −1 where it follows the shared prefix. */
  readonly parents: number[];
  /** What is asked of the states: the token behind place `at`, as token `index` of a sequence. */
  readonly asked: { readonly at: number; readonly target: number; readonly sequence: number; readonly index: number }[];
}

/** Fewer tokens than this are computed again rather than tying two trees together: small trees fill rows better. */
const LEAST_SHARED = 8;

/** Tokens that all sequences begin with, at most what leaves each the token before its `start`. */
export function prefixOfAll(continuations: readonly Continuation[]): number {
  const [first] = continuations;
  const most = Math.min(...continuations.map(({ start }) => start - 1));
  return continuations.reduce((alike, { tokens }) => commonPrefix(first!.tokens, tokens, alike), most);
}

/**
 * Trees of sequences without their first `from` tokens, which all share. A tree has at most `largest` tokens, which no sequence may be
 * longer than. A token that is asked about is computed only where another one follows it: four answers of one token cost nothing beside their question.
 */
export function sequenceTrees(continuations: readonly Continuation[], from: number, largest: number): SequenceTree[] {
  const trees: SequenceTree[] = [];
  let before: readonly number[] = [];
  /** Where the tokens of `before` are in its tree. */
  let path: number[] = [];
  for (const sequence of inTokenOrder(continuations)) {
    const { tokens, start } = continuations[sequence]!;
    const inputs = tokens.slice(from, -1);
    let shared = commonPrefix(before, inputs, inputs.length);
    let tree = trees.at(-1);
    const few = Math.min(LEAST_SHARED, inputs.length);
    if (!tree || shared < few || tree.tokens.length + inputs.length - shared > largest) {
      tree = { tokens: [], parents: [], asked: [] };
      trees.push(tree);
      shared = 0;
    }
    path = path.slice(0, shared);
    for (const token of inputs.slice(shared)) {
      tree.parents.push(path.at(-1) ?? -1);
      path.push(tree.tokens.push(token) - 1);
    }
    for (let t = start; t < tokens.length; t++) {
      tree.asked.push({ at: path[t - 1 - from]!, target: tokens[t]!, sequence, index: t - start });
    }
    before = inputs;
  }
  return trees;
}

/** Trees that share rows of `width` tokens, and how many rows a pass has. */
export interface Packing {
  readonly width: number;
  readonly rows: readonly (readonly SequenceTree[])[];
  readonly rowsPerPass: number;
}

/**
 * Rows for trees, first fit decreasing, of the width that computes least: the padding of every pass and, over `hidden` units of width, the
 * scores of attention counted.
 *
 * @param rowsOf most rows of a pass at a width
 */
export function packTrees(
  trees: readonly SequenceTree[],
  {
    hidden,
    prefix,
    rowsOf,
  }: { readonly hidden: number; readonly prefix: number; readonly rowsOf: (width: number) => number },
): Packing {
  const sorted = [...trees].sort((a, b) => b.tokens.length - a.tokens.length);
  let width = roundUpToSize(sorted[0]!.tokens.length, WIDTH_STEP);
  let best: (Packing & { readonly cost: number }) | undefined;
  for (let tries = 0; tries < 4; tries++) {
    const rows = firstFit(sorted, width);
    const rowsPerPass = countOfRows(rows.length, Math.max(1, rowsOf(width)));
    const computed = Math.ceil(rows.length / rowsPerPass) * rowsPerPass * width;
    // A layer multiplies a token by about 12 · hidden² weights, and by 2 · hidden numbers of every place that it looks at.
    const cost = computed * (1 + (prefix + width) / (6 * hidden));
    if (!best || cost < best.cost) best = { width, rows, rowsPerPass, cost };
    width = roundUpToSize(width + 1, WIDTH_STEP);
  }
  return best!;
}

const WIDTH_STEP = 64;

function firstFit(sorted: readonly SequenceTree[], width: number): SequenceTree[][] {
  const rows: { readonly trees: SequenceTree[]; free: number }[] = [];
  for (const tree of sorted) {
    let row = rows.find(({ free }) => free >= tree.tokens.length);
    if (!row) {
      row = { trees: [], free: width };
      rows.push(row);
    }
    row.trees.push(tree);
    row.free -= tree.tokens.length;
  }
  return rows.map(({ trees }) => trees);
}

/** Rows of a pass, at most `most`, so that all passes have as many with few left empty: 1, 2, 3, 4, 6, 8, 12, … */
function countOfRows(rows: number, most: number): number {
  let best = 1;
  for (let count = 1; count <= most; count = roundUpToSize(count + 1, 1)) {
    const total = (size: number) => Math.ceil(rows / size) * size;
    // Small passes are dear, so an empty row or two do not matter.
    if (total(count) <= total(best) * 1.05 || count * 4 <= Math.min(most, rows)) best = count;
  }
  return best;
}
