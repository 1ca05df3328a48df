import { setMaxListeners } from 'node:events';
import {
  assertArgument,
  assertKnownOptions,
  type Generator,
  type OptionHints,
  type Prompt,
  type SamplingParams,
  type Verifier,
} from '@posttrain/interfaces';
import { type AnswerExtractor, extractFinalAnswer } from '@posttrain/interfaces/answers';
import { linkedController } from '@posttrain/interfaces/concurrency';
import { assertGenerator, assertVerifier } from './arguments.js';
import { assertBudget, type Budget, type BudgetLimit, emptySpending, grantCompletions } from './budget.js';
import { answerOf, checkedCompletions } from './contracts.js';
import { assertInteger, ContractError, InvalidArgumentError, NoCandidateError } from './errors.js';
import type { Trace, TraceNode, TraceStatus } from './trace.js';

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
  /** Completions to draw. */
  readonly n: number;
  /** How to draw them. With a `seed`, the call for completions i, i+1, … uses `seed + i`. */
  readonly sampling?: SamplingParams;
  /** Default: no limit. */
  readonly budget?: Budget;
  /** Completions per generator call; each batch is verified before the next is drawn. Default: all `n`. */
  readonly batchSize?: number;
  /** Finds the answers that are counted. Default `extractFinalAnswer`. */
  readonly extractAnswer?: AnswerExtractor;
  /** Stops the search: it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What every strategy that judges completions takes. */
export interface VerifiedStrategyOptions extends StrategyOptions {
  readonly verifier: Verifier;
}

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

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** One completion that may become the answer. */
export interface Candidate {
  /** Prefix and completion. */
  readonly text: string;
  /** As the extractor finds it; `null` when there is none. */
  readonly answer: string | null;
  /** Of the completion as sampled, when the generator knows them. */
  readonly tokenIds?: readonly number[];
  /** Its place in the trace: a strategy writes `reason` where it knows why it drops the candidate; `finish` the status. */
  readonly node: Mutable<TraceNode>;
}

/** What a search is run with: the options of its strategy. */
export type SearchOptions = StrategyOptions & { readonly verifier?: Verifier };

const GRACE_MS = 1000;
const STRATEGY_KEYS = ['generator', 'n', 'sampling', 'budget', 'batchSize', 'extractAnswer', 'signal'];
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

/**
 * One search under way: what a strategy is written on. Every call of the generator and the verifier goes through it, so
 * that the budget is kept, the contracts are checked and the trace is complete, whatever the strategy does:
 *
 * 1. `new Search('my-strategy', problem, options)` checks what was given;
 * 2. `draw()` gives the completions, verified where there is a verifier, until done or out of budget;
 * 3. the strategy chooses; `finish` closes the search, or `nothing` makes the error when there is no choice.
 *
 * A `Search` is for one problem and is not used again.
 */
export class Search {
  readonly #strategy: string;
  readonly #problem: Problem;
  readonly #options: SearchOptions;
  readonly #extract: AnswerExtractor;
  readonly #started = performance.now();
  readonly #spent = emptySpending();
  readonly #nodes: Mutable<TraceNode>[];
  #exhausted: BudgetLimit | null = null;

  /**
   * @param strategy its name in traces and errors
   * @param ownOptions the strategy's options beside `StrategyOptions`, by name; with `verifier` among them it must be given
   * @throws PosttrainError for an unknown option, InvalidArgumentError for one that cannot be meant
   */
  constructor(strategy: string, problem: Problem, options: SearchOptions, ownOptions: readonly string[] = []) {
    assertKnownOptions(strategy, options, [...STRATEGY_KEYS, ...ownOptions], STRATEGY_HINTS);
    assertKnownOptions(`${strategy}: problem`, problem, PROBLEM_KEYS);
    assertInteger(`${strategy}: n`, options.n, 1);
    if (options.batchSize !== undefined) assertInteger(`${strategy}: batchSize`, options.batchSize, 1);
    assertBudget(strategy, options.budget ?? {}, options.sampling?.maxTokens);
    assertGenerator(strategy, options.generator);
    if (ownOptions.includes('verifier')) {
      if (!options.verifier)
        throw new InvalidArgumentError(`${strategy}: needs a verifier; majorityVote does without.`);
      assertVerifier(strategy, options.verifier);
    }
    const { extractAnswer, sampling } = options;
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
    this.#strategy = strategy;
    this.#problem = problem;
    this.#options = options;
    this.#extract = options.extractAnswer ?? extractFinalAnswer;
    this.#nodes = [
      {
        id: 0,
        parent: null,
        text: '',
        finishReason: null,
        promptTokens: 0,
        completionTokens: 0,
        answer: null,
        status: 'kept',
      },
    ];
  }

  /**
   * Draws `n` completions in batches, verifying each batch if there is a verifier, until done or out of budget. A candidate
   * that was scored has `node.score` (`null`: not scorable).
   *
   * @throws ContractError when generator or verifier answer out of shape; the signal's reason when it fires
   */
  async draw(): Promise<Candidate[]> {
    const { n, batchSize = n, verifier } = this.#options;
    const candidates: Candidate[] = [];
    for (let asked = 0; asked < n && !this.#overtime(); ) {
      const { granted, limit } = grantCompletions(
        this.#options.budget ?? {},
        this.#spent,
        Math.min(batchSize, n - asked),
        { maxTokens: this.#options.sampling?.maxTokens, verified: verifier !== undefined },
      );
      if (granted === 0) {
        this.#exhausted = limit;
        break;
      }
      const batch = await this.#generate(granted, asked);
      asked += granted;
      candidates.push(...batch);
      if (verifier) await this.#verify(verifier, batch);
    }
    return candidates;
  }

  async #generate(n: number, asked: number): Promise<Candidate[]> {
    const { generator, sampling = {} } = this.#options;
    const prefix = this.#problem.prefix ?? '';
    this.#spent.generatorCalls++;
    this.#spent.completions += n;
    const answer = await this.#beforeDeadline((signal) =>
      generator.generate([
        {
          ...sampling,
          ...(sampling.seed === undefined ? {} : { seed: sampling.seed + asked }),
          ...(prefix === '' ? {} : { prefix }),
          prompt: this.#problem.prompt,
          n,
          signal,
        },
      ]),
    );
    if (!answer) {
      this.#spent.lostCompletions += n;
      return [];
    }
    return checkedCompletions(generator.name, answer.value, n).flatMap((completion) => {
      this.#spent.promptTokens += completion.usage.promptTokens;
      this.#spent.completionTokens += completion.usage.completionTokens;
      const text = prefix + completion.text;
      const aborted = completion.finishReason === 'abort';
      const node: Mutable<TraceNode> = {
        id: this.#nodes.length,
        parent: 0,
        text: completion.text,
        finishReason: completion.finishReason,
        promptTokens: completion.usage.promptTokens,
        completionTokens: completion.usage.completionTokens,
        answer: aborted ? null : answerOf(this.#extract, text),
        status: 'dropped',
        ...(aborted ? { reason: 'aborted' } : {}),
      };
      this.#nodes.push(node);
      const { tokenIds } = completion;
      return aborted ? [] : [{ text, answer: node.answer, node, ...(tokenIds && { tokenIds }) }];
    });
  }

  async #verify(verifier: Verifier, candidates: readonly Candidate[]): Promise<void> {
    if (candidates.length === 0) return;
    if (this.#overtime()) {
      for (const { node } of candidates) node.reason = 'not verified: wall time over';
      return;
    }
    this.#spent.verifierCalls += candidates.length;
    const { prompt, row } = this.#problem;
    const answer = await this.#beforeDeadline((signal) =>
      verifier.verify(
        candidates.map(({ text, tokenIds, node: { finishReason } }) => ({
          ...{ prompt, completion: text, signal },
          ...(row && { row }),
          ...(tokenIds && { tokenIds }),
          ...(finishReason && { finishReason }),
        })),
      ),
    );
    if (!answer) {
      for (const { node } of candidates) node.reason = 'not verified: wall time over';
      return;
    }
    const verdicts = answer.value;
    if (!Array.isArray(verdicts) || verdicts.length !== candidates.length) {
      throw new ContractError(
        `verifier "${verifier.name}" returned ${Array.isArray(verdicts) ? verdicts.length : typeof verdicts} verdicts ` +
          `for ${candidates.length} completions.`,
      );
    }
    candidates.forEach(({ node }, i) => {
      const { score, explanation, usage } = verdicts[i]!;
      if (score !== null && !Number.isFinite(score)) {
        throw new ContractError(
          `verifier "${verifier.name}" gave completion ${i} the score ${score}; a score is a finite number, or null ` +
            'when the completion cannot be scored.',
        );
      }
      if (usage) {
        this.#spent.verifierTokens = (this.#spent.verifierTokens ?? 0) + usage.promptTokens + usage.completionTokens;
      }
      node.score = score;
      if (explanation !== undefined) node.explanation = explanation;
      if (score === null) node.reason = 'not scorable';
    });
  }

  /** Whether the wall time is over. */
  #overtime(): boolean {
    const limit = this.#options.budget?.maxWallTimeMs;
    if (limit !== undefined && performance.now() - this.#started >= limit) this.#exhausted = 'maxWallTimeMs';
    return this.#exhausted === 'maxWallTimeMs';
  }

  /** The result of `call`, or `undefined` when the wall time ran out and nothing came back within the grace period. */
  async #beforeDeadline<T>(call: (signal: AbortSignal) => Promise<T>): Promise<{ value: T } | undefined> {
    const { signal, budget } = this.#options;
    signal?.throwIfAborted();
    const { controller, dispose } = linkedController([signal]);
    // One signal for all requests of a batch, each of which may listen.
    setMaxListeners(0, controller.signal);
    const timers: NodeJS.Timeout[] = [];
    try {
      const result = await new Promise<{ value: T } | undefined>((resolve, reject) => {
        const expired = () => this.#exhausted === 'maxWallTimeMs';
        controller.signal.addEventListener('abort', () => expired() || reject(controller.signal.reason));
        if (budget?.maxWallTimeMs !== undefined) {
          const expire = () => {
            this.#exhausted = 'maxWallTimeMs';
            timers.push(setTimeout(() => resolve(undefined), GRACE_MS));
            controller.abort(new DOMException('The wall time of the search is over.', 'TimeoutError'));
          };
          timers.push(setTimeout(expire, Math.max(0, budget.maxWallTimeMs - (performance.now() - this.#started))));
        }
        call(controller.signal).then(
          (value) => resolve({ value }),
          (error: unknown) => (expired() ? resolve(undefined) : reject(error)),
        );
      });
      signal?.throwIfAborted();
      return result;
    } finally {
      for (const timer of timers) clearTimeout(timer);
      dispose();
    }
  }

  /**
   * Marks the nodes and closes the search: `chosen` is the answer, `support` spoke for it, the other `candidates` were
   * dropped for `reason` unless they have one already. `votes` go from most to least weight.
   */
  finish(
    chosen: Candidate,
    support: readonly Candidate[],
    candidates: readonly Candidate[],
    votes: readonly Vote[],
    reason: string,
  ): SearchResult {
    for (const candidate of candidates) {
      const status: TraceStatus = candidate === chosen ? 'chosen' : support.includes(candidate) ? 'kept' : 'dropped';
      candidate.node.status = status;
      if (status === 'dropped') candidate.node.reason ??= reason;
    }
    return {
      text: chosen.text,
      answer: chosen.answer,
      score: chosen.node.score ?? null,
      votes,
      exhausted: this.#exhausted,
      trace: this.#trace(),
    };
  }

  /** The error for a search with nothing to return, to be thrown: `why` completes "strategy: …". It carries the trace. */
  nothing(why: string): NoCandidateError {
    const limit = this.#exhausted ? ` The budget ended the search: ${this.#exhausted}.` : '';
    return new NoCandidateError(`${this.#strategy}: ${why}${limit}`, this.#trace());
  }

  #trace(): Trace {
    this.#spent.wallTimeMs = performance.now() - this.#started;
    const { generator, verifier, n, sampling = {}, budget = {} } = this.#options;
    return {
      format: 'posttrain-trace',
      version: 1,
      strategy: this.#strategy,
      generator: generator.name,
      verifier: verifier?.name ?? null,
      prompt: this.#problem.prompt,
      prefix: this.#problem.prefix ?? '',
      n,
      sampling,
      budget,
      exhausted: this.#exhausted,
      spent: { ...this.#spent },
      nodes: this.#nodes.map((node) => ({ ...node })),
    };
  }
}
