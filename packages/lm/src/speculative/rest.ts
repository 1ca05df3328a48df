import { type Given, integer, options } from '@posttrain/interfaces';
import { NO_PROPOSAL, type Proposal, type Proposer } from './proposer.js';
import type { ProposerRun } from './speculative-decoding.js';

const restOptions = options('rest', {
  /** Most tokens to propose, of all branches together; the paper's c. Default 64. */
  tokens: integer({ default: 64, min: 1 }),
  /** Longest branch; the paper's m. Default 10. */
  depth: integer({ default: 10, min: 1 }),
  /** Longest ending to look for; the paper's n_max. Default 16. */
  maxMatchingNgramSize: integer({ default: 16, min: 1 }),
  /** Most places of an ending whose continuations are counted. Default 5000. */
  maxMatches: integer({ default: 5000, min: 1 }),
});
/** Options of `rest`. */
export type RestOptions = Given<typeof restOptions>;

/** What follows the last token of a text of the store. */
const END = -1;

/** Texts as tokens, in which any n-gram is found by bisection: a suffix array. */
export class RestDatastore {
  /** All texts, each followed by `END`. */
  readonly #tokens: Int32Array;
  /** Places in `tokens`, in the order of what stands there. */
  readonly #places: Int32Array;

  /** Takes O(n log n) comparisons for n tokens, and 8 n bytes. @param texts tokens of texts like those that are to come */
  constructor(texts: Iterable<readonly number[]>) {
    const all: number[] = [];
    for (const text of texts) {
      for (const token of text) all.push(token);
      all.push(END);
    }
    const tokens = Int32Array.from(all);
    this.#tokens = tokens;
    this.#places = Int32Array.from(tokens.keys()).sort((a, b) => {
      if (a === b) return 0;
      let length = 0;
      // Texts end differently: of two that are the same up to their ends, the earlier comes first.
      while (tokens[a + length] === tokens[b + length] && tokens[a + length] !== END) length++;
      return tokens[a + length]! - tokens[b + length]! || a - b;
    });
  }

  /** What stands behind the n-gram where it occurs: up to `most` continuations of at most `length` tokens, in sorted order. */
  continuations(ngram: readonly number[], length: number, most: number): Int32Array[] {
    const [from, to] = [this.#border(ngram, false), this.#border(ngram, true)];
    const found: Int32Array[] = [];
    for (let i = from; i < Math.min(to, from + most); i++) {
      const start = this.#places[i]! + ngram.length;
      let end = start;
      while (end < start + length && this.#tokens[end] !== END) end++;
      found.push(this.#tokens.subarray(start, end));
    }
    return found;
  }

  /** The first place whose tokens are not before the n-gram, or (`after`) are behind it. */
  #border(ngram: readonly number[], after: boolean): number {
    let [low, high] = [0, this.#places.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const order = this.#compare(this.#places[middle]!, ngram);
      if (order < 0 || (after && order === 0)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #compare(place: number, ngram: readonly number[]): number {
    for (const [i, token] of ngram.entries()) {
      const own = this.#tokens[place + i]!;
      if (own !== token) return own - token;
      if (own === END) return -1;
    }
    return 0;
  }
}

/** A token that may come, and how often it did. */
interface Branch {
  readonly token: number;
  /** Undefined for those that come first. */
  readonly parent: Branch | undefined;
  readonly depth: number;
  readonly children: Map<number, Branch>;
  count: number;
}

/**
 * REST, retrieval-based speculative decoding (arXiv 2311.08252): proposes what followed the longest ending of the text, of at most
 * `maxMatchingNgramSize` tokens, in a store of texts: a tree of the `tokens` continuations that occurred most often, no longer than
 * `depth`. Of equally frequent ones shorter come first, then those with lower token ids. It is the option of a generator:
 * `new LocalGenerator(model, { speculative: { proposer: rest(new RestDatastore(texts)) } })`.
 *
 * @throws OptionError
 */
export function rest(store: RestDatastore, given: RestOptions = {}): (run?: ProposerRun) => Proposer {
  const settings = restOptions.read(given);
  return () => ({
    propose: async (requests) =>
      requests.map(({ row, state, most }) => {
        if (most < 1) return NO_PROPOSAL;
        const ending = [...row.prompt, ...state.generated].slice(-settings.maxMatchingNgramSize);
        return restProposal(store, ending, { ...settings, depth: Math.min(settings.depth, most) });
      }),
    release: () => undefined,
    close: () => undefined,
  });
}

/** What `rest` proposes behind a text: nothing where no ending of it is in the store. @throws OptionError */
export function restProposal(store: RestDatastore, ending: readonly number[], given: RestOptions = {}): Proposal {
  const { tokens, depth, maxMatchingNgramSize, maxMatches } = restOptions.read(given);
  for (let size = Math.min(maxMatchingNgramSize, ending.length); size > 0; size--) {
    const continuations = store.continuations(ending.slice(-size), depth, maxMatches);
    // The texts may end where the ending does.
    if (continuations.some(({ length }) => length > 0)) return frequent(continuations, tokens);
  }
  return NO_PROPOSAL;
}

/** The most frequent beginnings of continuations, as a tree. */
function frequent(continuations: readonly Int32Array[], most: number): Proposal {
  const first = new Map<number, Branch>();
  const all: Branch[] = [];
  // In sorted order, so that of one depth the order of branches is that of their paths.
  for (const continuation of continuations) {
    let parent: Branch | undefined;
    for (const [t, token] of continuation.entries()) {
      const siblings: Map<number, Branch> = parent?.children ?? first;
      let branch = siblings.get(token);
      if (!branch) {
        branch = { token, parent, depth: t + 1, children: new Map(), count: 0 };
        siblings.set(token, branch);
        all.push(branch);
      }
      branch.count++;
      parent = branch;
    }
  }
  // A branch is no more frequent than what it follows, and deeper: it comes behind it.
  const chosen = all.sort((a, b) => b.count - a.count || a.depth - b.depth).slice(0, most);
  const places = new Map(chosen.map((branch, i) => [branch, i]));
  return {
    tokens: chosen.map(({ token }) => token),
    parents: chosen.map(({ parent }) => (parent ? places.get(parent)! : -1)),
  };
}
