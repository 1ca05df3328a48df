import { boolean, type Given, integer, options } from '@posttrain/interfaces';
import { mostLikelyTokens } from '../sampling/report-token.js';
import { NO_PROPOSAL, type Proposal, type ProposalRequest, type Proposer, type VerifiedPass } from './proposer.js';
import type { ProposerRun } from './speculative-decoding.js';

const lookaheadOptions = options('lookahead', {
  /** W: places ahead whose tokens are guessed at once. Default 15, as the paper has it for models of 7B. */
  windowSize: integer({ default: 15, min: 1 }),
  /** N: tokens of the n-grams that are collected; one pass can give as many. Default 5. */
  ngramSize: integer({ default: 5, min: 2 }),
  /** G: n-grams that are kept for a first token, and tried after it; the latest ones. Default 15. */
  guessSetSize: integer({ default: 15, min: 1 }),
  /** Whether the n-grams of the prompt are there from the start. Default true. */
  poolFromPrompt: boolean({ default: true }),
});
/** Options of `lookahead`. */
export type LookaheadOptions = Given<typeof lookaheadOptions>;

/**
 * Lookahead decoding (arXiv 2402.02057): the model drafts for itself, by Jacobi iteration on a window of guesses. In every pass
 *
 *   the lookahead branch has N − 1 rows of W guesses, row l of the pass so many passes ago. Guess (l, j) stands 1 + l + j places
 *   behind the last token and follows (l − 1, j), or (0, j − 1) in the first row; what the model says after (N − 2, j) ends an
 *   n-gram for the pool, and is guess j of the next row, for which the first goes;
 *   the verification branch has the n-grams of the pool that begin with the last token.
 *
 * Both are one tree, so that the row draws for itself and gets what it would get without. The first row begins with tokens of
 * the prompt. The window goes on by one place a pass, however many tokens were kept, so that its n-grams stay whole. It is the option of a generator: `new LocalGenerator(model, { speculative: { proposer: lookahead() } })`. A pass
 * has up to (W + G) (N − 1) tokens more.
 *
 * @throws OptionError
 */
export function lookahead(given: LookaheadOptions = {}): (run?: ProposerRun) => Proposer {
  const settings = lookaheadOptions.read(given);
  return () => {
    const rows = new Map<number, LookaheadRow>();
    const rowOf = ({ id, row }: ProposalRequest): LookaheadRow => {
      const known = rows.get(id) ?? new LookaheadRow(row.prompt, settings);
      rows.set(id, known);
      return known;
    };
    return {
      propose: async (requests) => requests.map((request) => rowOf(request).propose(request)),
      verified: (id, pass) => rows.get(id)?.learn(pass),
      release: (id) => void rows.delete(id),
      close: () => rows.clear(),
    };
  };
}

/** Paths of tokens, those that begin alike as one. */
class PathTree {
  readonly tokens: number[] = [];
  readonly parents: number[] = [];
  readonly #places = new Map<string, number>();

  /** The place of a token that follows the one at `parent`. */
  add(parent: number, token: number): number {
    const key = `${parent} ${token}`;
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    const place = this.tokens.push(token) - 1;
    this.parents.push(parent);
    this.#places.set(key, place);
    return place;
  }
}

/** N-grams by their first token: the latest `most` of each. */
class NgramPool {
  readonly #most: number;
  readonly #tails = new Map<number, Map<string, readonly number[]>>();

  constructor(most: number) {
    this.#most = most;
  }

  add([first, ...tail]: readonly number[]): void {
    const known = this.#tails.get(first!) ?? new Map<string, readonly number[]>();
    this.#tails.set(first!, known);
    known.delete(tail.join());
    known.set(tail.join(), tail);
    if (known.size > this.#most) known.delete(known.keys().next().value!);
  }

  /** What follows a token in its n-grams, the latest first. */
  after(first: number): (readonly number[])[] {
    return [...(this.#tails.get(first)?.values() ?? [])].reverse();
  }
}

interface LookaheadSettings {
  readonly windowSize: number;
  readonly ngramSize: number;
  readonly guessSetSize: number;
  readonly poolFromPrompt: boolean;
}

/** The window and the pool of a row. */
class LookaheadRow {
  readonly #settings: LookaheadSettings;
  readonly #prompt: readonly number[];
  readonly #pool: NgramPool;
  /** Guesses, the oldest row first: up to N − 1 rows of W. */
  readonly #window: number[][];
  /** Where the last row of the window is in what was proposed; undefined where it was too deep. */
  #places: readonly (number | undefined)[] = [];
  #filled = 0;

  constructor(prompt: readonly number[], settings: LookaheadSettings) {
    this.#settings = settings;
    this.#prompt = prompt;
    this.#pool = new NgramPool(settings.guessSetSize);
    this.#window = [Array.from({ length: settings.windowSize }, () => this.#filler())];
    const { ngramSize, poolFromPrompt } = settings;
    if (!poolFromPrompt) return;
    for (let at = 0; at + ngramSize <= prompt.length; at++) this.#pool.add(prompt.slice(at, at + ngramSize));
  }

  propose({ row, state, most }: ProposalRequest): Proposal {
    this.#places = [];
    if (most < 1) return NO_PROPOSAL;
    const tree = new PathTree();
    const last = state.generated.at(-1) ?? row.prompt.at(-1)!;
    // These first: of a tree that has to be cut the window is what helps later only.
    for (const tail of this.#pool.after(last)) tail.slice(0, most).reduce((at, token) => tree.add(at, token), -1);
    let chain = -1;
    this.#places = this.#window[0]!.map((first, j) => {
      if (j + this.#window.length > most) return undefined;
      chain = tree.add(chain, first);
      return this.#window.slice(1).reduce((at, guesses) => tree.add(at, guesses[j]!), chain);
    });
    return tree;
  }

  learn({ proposed, logits }: VerifiedPass): void {
    const { ngramSize } = this.#settings;
    const isWhole = this.#window.length === ngramSize - 1;
    const next = this.#window[0]!.map((_, j) => {
      const place = this.#places[j];
      if (place === undefined || place >= proposed) return this.#filler();
      const [token] = mostLikelyTokens(logits[place + 1]!, 1) as [number];
      if (isWhole) this.#pool.add([...this.#window.map((guesses) => guesses[j]!), token]);
      return token;
    });
    this.#window.push(next);
    if (isWhole) this.#window.shift();
  }

  /** A guess where nothing is known: tokens of the prompt in turn. */
  #filler(): number {
    return this.#prompt[this.#filled++ % this.#prompt.length]!;
  }
}
