import {
  assertArgument,
  assertKnownOptions,
  type Generator,
  type OptionHints,
  type Prompt,
  type SamplingParams,
  type Verifier,
} from '@posttrain/interfaces';
import type { AnswerExtractor } from '@posttrain/interfaces/answers';
import { assertGenerator, assertVerifier } from './arguments.js';
import { assertBudget, type Budget } from './budget.js';
import { assertInteger, InvalidArgumentError } from './errors.js';

/** What is to be answered. */
export interface Problem {
  readonly prompt: Prompt;
  /** Start of the answer, continued by every completion; verifiers and extractors see it in front of the completion. */
  readonly prefix?: string;
  /** The dataset row, handed to the verifier. */
  readonly row?: Readonly<Record<string, unknown>>;
}

/** What every strategy takes. */
export interface StrategyOptions {
  readonly generator: Generator;
  /** Completions to draw; of a search over a tree or graph its width, as the strategy says. */
  readonly n: number;
  /** How to draw them. With a `seed`, the call for completions i, i+1, … uses `seed + i`; a tree's seeds hash it with paths. */
  readonly sampling?: SamplingParams;
  /** Default: no limit. */
  readonly budget?: Budget;
  /**
   * Completions per generator call; of samples, each batch is verified before the next is drawn. Default: all that are asked
   * for together.
   */
  readonly batchSize?: number;
  /** Finds the answers that are counted. Default `extractFinalAnswer`. */
  readonly extractAnswer?: AnswerExtractor;
  /** Further generators by role, for strategies that ask several. */
  readonly generators?: Readonly<Record<string, Generator>>;
  /** Further verifiers by role. */
  readonly verifiers?: Readonly<Record<string, Verifier>>;
  /**
   * How often a generator call that failed is made again, each request by itself then, so that one that cannot be answered
   * loses only itself. Every attempt is charged with the most that it can have taken. Default 0.
   */
  readonly retries?: number;
  /** Stops the search: it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What every strategy that judges completions takes. */
export interface VerifiedStrategyOptions extends StrategyOptions {
  readonly verifier: Verifier;
}

/** What a search is run with: the options of its strategy. */
export type SearchOptions = StrategyOptions & { readonly verifier?: Verifier };

const STRATEGY_KEYS = [
  ...['generator', 'n', 'sampling', 'budget', 'batchSize', 'extractAnswer', 'signal'],
  ...['generators', 'verifiers', 'retries'],
];
/** What is said in another place, or called otherwise by other libraries. */
const STRATEGY_HINTS: OptionHints = {
  aliases: { samples: 'n', num_samples: 'n', numSamples: 'n', num_return_sequences: 'n', model: 'generator' },
  hints: Object.fromEntries(
    ['temperature', 'maxTokens', 'topK', 'topP', 'minP', 'seed', 'stop'].map((name) => [
      name,
      `It belongs to sampling: sampling: { ${name} }.`,
    ]),
  ),
};
const PROBLEM_KEYS = ['prompt', 'prefix', 'row'];

/** @throws PosttrainError for an unknown option, InvalidArgumentError for one that cannot be meant */
export function assertSearch(
  strategy: string,
  problem: Problem,
  options: SearchOptions,
  ownOptions: readonly string[],
): void {
  assertKnownOptions(strategy, options, [...STRATEGY_KEYS, ...ownOptions], STRATEGY_HINTS);
  assertKnownOptions(`${strategy}: problem`, problem, PROBLEM_KEYS);
  assertInteger(`${strategy}: n`, options.n, 1);
  if (options.batchSize !== undefined) assertInteger(`${strategy}: batchSize`, options.batchSize, 1);
  if (options.retries !== undefined) assertInteger(`${strategy}: retries`, options.retries, 0);
  assertBudget(strategy, options.budget ?? {}, options.sampling?.maxTokens);
  assertGenerator(strategy, options.generator);
  if (ownOptions.includes('verifier')) {
    if (!options.verifier) throw new InvalidArgumentError(`${strategy}: needs a verifier; majorityVote does without.`);
    assertVerifier(strategy, options.verifier);
  }
  const { extractAnswer, sampling, generators, verifiers } = options;
  for (const generator of Object.values(generators ?? {})) assertGenerator(strategy, generator);
  for (const [role, verifier] of Object.entries(verifiers ?? {}))
    assertVerifier(strategy, verifier, `verifiers.${role}`);
  const isSampling = sampling === undefined || (typeof sampling === 'object' && sampling !== null);
  assertArgument(strategy, 'sampling', sampling, isSampling, 'an object, as { temperature, maxTokens }');
  const isPrompt = typeof problem.prompt === 'string' || Array.isArray(problem.prompt);
  assertArgument(`${strategy}: problem`, 'prompt', problem.prompt, isPrompt, 'a text or a list of messages');
  const isExtractor = extractAnswer === undefined || typeof extractAnswer === 'function';
  assertArgument(
    strategy,
    'extractAnswer',
    extractAnswer,
    isExtractor,
    'a function of a text: (text) => answer or null',
  );
}
