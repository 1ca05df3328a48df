import {
  boolean,
  custom,
  type GenerateRequest,
  type Given,
  integer,
  listOf,
  type Options,
  type Prompt,
  type Read,
  type SamplingParams,
  text,
} from '@posttrain/interfaces';
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

/** What the generator is to say of the tokens; what it does not say is missed by the strategy that needs it (`tokenReports`). */
const reportShape = {
  /** The log-probability of each token. Default false. */
  logProbs: boolean({ default: false }),
  /** So many of the likeliest tokens in the place of each token. Default 0. */
  topLogProbs: integer({ default: 0, min: 0 }),
  /** Statistics of the distribution in the place of each token, by name, of generators that have them (`@posttrain/lm`). Default: none. */
  statistics: listOf(text({}), { default: [] }),
};

/** The part of a request that asks for reports: what is not asked for is not in it. */
export const reported = (report: Read<Options<typeof reportShape>>): Partial<GenerateRequest> =>
  Object.fromEntries(
    (['logProbs', 'topLogProbs', 'statistics'] as const)
      .map((name) => [name, report[name]] as const)
      .filter(([, value]) => (Array.isArray(value) ? value.length > 0 : value !== false && value !== 0)),
  );

export const drawShape = {
  /** How many. Default: the strategy's `n`. */
  n: integer({ optional: true, min: 1 }),
  ...reportShape,
};
/** What samples are drawn with. */
export type Draw = Given<Options<typeof drawShape>>;

export const expansionShape = {
  ...reportShape,
  /** How many. */
  n: integer({ min: 1 }),
  /** Strings that end a step and are part of its text: a child that ended at one is `open`. Default: none. */
  stop: listOf(text({}), { default: [] }),
  /** Most tokens of one child. Default: `sampling.maxTokens`. */
  maxTokens: integer({ optional: true, min: 1 }),
  /** Another prompt in the place of the problem's: the children then begin a text of their own, and continue none. */
  prompt: custom<Prompt>()(
    'a text or a list of messages',
    (value) => typeof value === 'string' || Array.isArray(value),
    { optional: true },
  ),
  /** What the children of such a prompt begin with. Default: nothing. */
  prefix: text({ default: '' }),
  /** Which of `options.generators` to ask. Default: `options.generator`. */
  role: text({ optional: true }),
  /** Over `options.sampling`. Its `seed` is not used: a node's seed is made of its path. */
  sampling: custom<SamplingParams>()(
    'an object, as { temperature, maxTokens }',
    (value) => typeof value === 'object' && value !== null,
    { optional: true },
  ),
};
/** What children of a node are asked for with. */
export type Expansion = Given<Options<typeof expansionShape>>;

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
