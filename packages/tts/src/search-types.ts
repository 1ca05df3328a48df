import type { Prompt, SamplingParams } from '@posttrain/interfaces';
import type { BudgetLimit } from './budget.js';
import type { SearchNode } from './search-node.js';
import type { Problem, StrategyOptions } from './search-options.js';
import type { Trace } from './trace.js';

/** Votes for one answer. */
export interface Vote {
  readonly answer: string;
  /** Completions with this answer that were counted. */
  readonly count: number;
  /** What decides: the count, or the sum of scores. */
  readonly weight: number;
}

/** What a search found, and how. */
export interface SearchResult {
  /** The chosen text: prefix and completion. */
  readonly text: string;
  /** Its normalised answer; `null` when the extractor finds none. */
  readonly answer: string | null;
  /** Its score; `null` for strategies without a verifier. */
  readonly score: number | null;
  /** Answers from most to least weight; empty for strategies that do not vote. */
  readonly votes: readonly Vote[];
  /** The limit of the budget that ended the search early, or `null`. */
  readonly exhausted: BudgetLimit | null;
  readonly trace: Trace;
}

/** A strategy: a problem in, the best answer found and the trace of the search out. */
export type Strategy<Options extends StrategyOptions> = (problem: Problem, options: Options) => Promise<SearchResult>;

/** What children of a node are asked for with. */
export interface Expansion {
  /** How many. */
  readonly n: number;
  /** Strings that end a step and are part of its text: a child that ended at one is `open`. Default: none. */
  readonly stop?: readonly string[];
  /** Most tokens of one child. Default: `sampling.maxTokens`. */
  readonly maxTokens?: number;
  /** Another prompt in the place of the problem's: the children then begin a text of their own, and continue none. */
  readonly prompt?: Prompt;
  /** What the children of such a prompt begin with. Default: nothing. */
  readonly prefix?: string;
  /** Which of `options.generators` to ask. Default: `options.generator`. */
  readonly role?: string;
  /** Over `options.sampling`. Its `seed` is not used: a node's seed is made of its path. */
  readonly sampling?: SamplingParams;
}

/** How a search over a tree or graph ends. */
export interface Finish {
  /** Nodes that speak for the answer, beside those that it came from. */
  readonly support?: readonly SearchNode[];
  readonly votes?: readonly Vote[];
  /** Of the nodes that are dropped and have no reason of their own. Default `not chosen`. */
  readonly reason?: string;
}

/** What may still be begun: the rest of each limit, `Infinity` where there is none. */
export interface Remaining {
  readonly completions: number;
  readonly completionTokens: number;
  readonly verifierCalls: number;
  readonly verifierTokens: number;
  readonly wallTimeMs: number;
}
