import { commonPrefix } from '../runner/sequence.js';

/** A sequence of which only the tokens from `start` on are asked about. */
export interface Continuation {
  readonly tokens: readonly number[];
  /** At least 1. */
  readonly start: number;
}

/** Tokens `from` … `to - 1` that several sequences have in common, and all tokens before. */
export interface PrefixNode {
  readonly from: number;
  readonly to: number;
  /** Index of a sequence that has them. */
  readonly sequence: number;
  /** Longer prefixes that some of the sequences have in common. */
  readonly children: readonly PrefixNode[];
  /** Indices of the sequences that go on alone. */
  readonly leaves: readonly number[];
}

/** Tokens that a node must save computing: a pass of its own costs about as much as this many. */
const LEAST_SAVING = 64;

/**
 * Prefix tree of shared computation: the prefixes worth computing once. The last token before `start` is never in one:
 * the state after it is needed by each sequence. `alone` are the sequences that share nothing worth while.
 */
export function prefixTree(
  continuations: readonly Continuation[],
  leastSaving = LEAST_SAVING,
): { readonly roots: readonly PrefixNode[]; readonly alone: readonly number[] } {
  const order = inTokenOrder(continuations);
  // common[i]: how many tokens number i and i + 1 can share.
  const common = order.slice(1).map((b, i) => commonLength(continuations[order[i]!]!, continuations[b]!));

  /** Splits members [begin, end), which share `from` computed tokens, where they share no more than `least`. */
  const split = (begin: number, end: number, from: number, least: number) => {
    const children: PrefixNode[] = [];
    const leaves: number[] = [];
    for (let i = begin; i < end; ) {
      let j = i + 1;
      while (j < end && common[j - 1]! > least) j++;
      if (j === i + 1) leaves.push(order[i]!);
      else {
        const to = common.slice(i, j - 1).reduce((a, b) => Math.min(a, b));
        if ((to - from) * (j - i - 1) >= leastSaving) {
          children.push({ from, to, sequence: order[i]!, ...split(i, j, to, to) });
        } else {
          const deeper = split(i, j, from, to);
          children.push(...deeper.children);
          leaves.push(...deeper.leaves);
        }
      }
      i = j;
    }
    return { children, leaves };
  };
  const { children: roots, leaves: alone } = split(0, order.length, 0, 0);
  return { roots, alone };
}

const commonLength = (a: Continuation, b: Continuation): number =>
  commonPrefix(a.tokens, b.tokens, Math.min(a.start, b.start) - 1);

/** Indices of sequences in the order of their tokens, so that those that begin alike are neighbours. */
export const inTokenOrder = (continuations: readonly Continuation[]): number[] =>
  continuations.map((_, i) => i).sort((a, b) => compare(continuations[a]!.tokens, continuations[b]!.tokens));

function compare(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length);
  const alike = commonPrefix(a, b, end);
  return alike < end ? a[alike]! - b[alike]! : a.length - b.length;
}
