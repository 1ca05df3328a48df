import { type Generator, options, type PairJudge } from '@posttrain/interfaces';
import { type AnswerExtractor, extractFinalAnswer } from '@posttrain/interfaces/answers';
import { type Cost, Ledger, type Reservation } from '@posttrain/interfaces/ledger';
import { type BudgetLimit, budgetLimit, ledgerLimits } from './budget.js';
import { answerOf, assertNamed, assertStops } from './contracts.js';
import { Deadline } from './deadline.js';
import { ContractError, InvalidArgumentError, NoCandidateError } from './errors.js';
import { Interruption } from './interruption.js';
import { Judges, OVERTIME, pairRequest, pairVerifier } from './judging.js';
import { Rounds } from './rounds.js';
import { type Candidate, childSeed, type SearchNode } from './search-node.js';
import { assertSearch, type DeclaredStrategy, type Problem, type SearchOptions } from './search-options.js';
import { SearchTree } from './search-tree.js';
import {
  type Draw,
  drawShape,
  type Expansion,
  expansionShape,
  type Finish,
  type Remaining,
  reported,
  type SearchResult,
  type Vote,
} from './search-types.js';
import { StepEnds } from './step-ends.js';
import type { Trace } from './trace.js';
import { traceOf } from './trace-of.js';

type NodePair = readonly [SearchNode, SearchNode];

/** What nodes are judged as. */
interface Verification {
  /** Which of `options.verifiers` to ask; default `options.verifier`. */
  readonly role?: string;
  /** What the nodes' texts answer, where that is not the search's own problem. */
  readonly problem?: Pick<Problem, 'prompt' | 'row'>;
}

/**
 * One search under way: what a strategy is written on. Every call of generators and verifiers goes through it, so that the
 * budget is kept, the contracts are checked and the trace is complete, whatever the strategy does. A search over samples:
 *
 * 1. `new Search(myOptions, problem, options)` checks what was given;
 * 2. `draw()` gives the completions, verified where there is a verifier, until done or out of budget;
 * 3. the strategy chooses; `finish` closes the search, or `nothing` makes the error when there is no choice.
 *
 * One over a tree or graph begins at `root`: `expand` asks for children of a node, `verify` scores nodes, `merge` makes a node of
 * several. Calls made in one turn of the event loop go out as one batch and come back together (`Rounds`), so a strategy is
 * concurrent by `Promise.all`, and waits for nothing but the search. Then the tree is **the same at any concurrency**:
 * a node's seed is a hash of its path, ids go by the order of asking, and what the budget grants is decided in that
 * order. This holds for generators that are a function of prompt and seed alone. A local model is one on the reference engine,
 * where a request gives the same tokens alone and in a batch. Engines in float32 (onnxruntime) round differently in batches
 * of other sizes: the same tokens have the same log-probabilities to 1e-4, and a draw that falls between two tokens to within
 * that may turn (batch-invariance.test.ts of `@posttrain/lm` shows both).
 *
 * A `Search` is for one problem and is not used again.
 */
export class Search {
  readonly #strategy: string;
  readonly #problem: Problem;
  readonly #options: SearchOptions;
  readonly #extract: AnswerExtractor;
  readonly #ledger: Ledger;
  readonly #deadline: Deadline;
  readonly #rounds: Rounds;
  readonly #judges: Judges;
  readonly #interruption: Interruption;
  readonly #tree: SearchTree;
  readonly #steps: StepEnds;
  #exhausted: BudgetLimit | null = null;
  /** How many samples were asked for. */
  #drawn = 0;
  /** The problem itself: its text is the problem's prefix. */
  readonly root: SearchNode;

  /** @param strategy its declared options (`strategyOptions`) */
  constructor(strategy: DeclaredStrategy, problem: Problem, options: SearchOptions) {
    assertSearch(strategy, problem, options);
    assertNamed(options);
    this.#strategy = strategy.where;
    this.#steps = new StepEnds(strategy.shape?.stop !== undefined);
    this.#problem = problem;
    this.#options = options;
    this.#extract = options.extractAnswer ?? extractFinalAnswer;
    this.#ledger = new Ledger(ledgerLimits(options.budget ?? {}));
    this.#deadline = new Deadline(options.signal, () => this.#ledger.left('wallTimeMs'));
    this.#rounds = new Rounds(this.#ledger, this.#deadline, options);
    this.#judges = new Judges({
      ...{ problem, rounds: this.#rounds, findsAnswers: !options.extractAnswer },
      isOver: () => this.exhausted === 'maxWallTimeMs',
      drops: (cause) => this.#drops(cause),
    });
    this.#interruption = new Interruption(options.onInterrupted, () => this.#trace());
    const drops = (cause: unknown) => this.#drops(cause);
    this.#tree = new SearchTree({ where: strategy.where, extract: this.#extract, drops });
    const key = String(options.sampling?.seed ?? 0);
    this.root = this.#tree.add({
      key,
      parents: [],
      text: problem.prefix ?? '',
      state: 'open',
      node: { status: 'kept' },
    });
  }

  /** Fires when the caller's signal does or the wall time is over: for work of the strategy's own. */
  get signal(): AbortSignal {
    return this.#deadline.signal;
  }

  /** What of the budget is neither spent nor reserved. */
  get left(): Remaining {
    const left = (kind: keyof Remaining) => this.#ledger.left(kind);
    return {
      completions: left('completions'),
      completionTokens: left('completionTokens'),
      verifierCalls: left('verifierCalls'),
      verifierTokens: left('verifierTokens'),
      wallTimeMs: left('wallTimeMs'),
    };
  }

  /** The limit of the budget that refused work, or `null`. */
  get exhausted(): BudgetLimit | null {
    if (this.#deadline.isOver) this.#exhausted = 'maxWallTimeMs';
    return this.#exhausted;
  }

  /**
   * Draws `n` completions in batches, verifying each batch if there is a verifier, until done or out of budget. A candidate
   * that was scored has `node.score` (`null`: not scorable). Drawn again, it goes on where it stopped: two draws of 2 are one of 4.
   *
   * @throws ContractError when generator or verifier answer out of shape; the signal's reason when it fires
   */
  draw(draw: Draw = {}): Promise<SearchNode[]> {
    return this.#interruption.guard(this.#draw(draw));
  }

  async #draw(draw: Draw): Promise<SearchNode[]> {
    const { n = this.#options.n, ...report } = options(`${this.#strategy}: draw`, drawShape).read(draw);
    const { batchSize = n, verifier, generator, sampling = {} } = this.#options;
    const { seed, ...drawn } = sampling;
    const { prompt, prefix = '' } = this.#problem;
    const candidates: SearchNode[] = [];
    const end = this.#drawn + n;
    while (this.#drawn < end && this.exhausted !== 'maxWallTimeMs') {
      const asked = this.#drawn;
      // What could not be verified is not begun either.
      const { limit, reservations: held } = this.#ledger.reserveEach(
        this.#tree.places(this.root.key, '', asked, Math.min(batchSize, end - asked)),
        this.#generatingCost(drawn.maxTokens),
        ...(verifier ? [this.#judgingCost] : []),
      );
      const [reservations = [], toJudge = []] = held;
      const granted = reservations.length;
      if (granted === 0) {
        this.#exhausted = limit && budgetLimit(limit);
        break;
      }
      const keys = this.#tree.places(this.root.key, '', asked, granted);
      const first = seed === undefined ? undefined : seed + asked;
      const asking = await this.#rounds.ask({
        ...{ generator, reservations: [...reservations], isAlone: true },
        request: { ...drawn, ...reported(report), ...(prefix === '' ? {} : { prefix }), prompt },
        seed: first,
      });
      const batch = this.#tree.grow({ parent: this.root, start: prefix, keys, stops: [], seed: first, ...asking });
      this.#drawn += granted;
      candidates.push(...batch);
      const wanted = new Set(batch.map(({ key }) => key));
      for (const [i, key] of keys.entries()) if (!wanted.has(key)) toJudge[i]?.settle({});
      const open = toJudge.filter(({ isOpen }) => isOpen);
      if (verifier) await this.#judges.judge(verifier, batch, open);
    }
    return candidates;
  }

  /**
   * Children of a node, each one completion: fewer than `n`, or none, when the budget does not allow more or the wall
   * time ended them. They go on from the node's text, unless `prompt` is given.
   *
   * @throws ContractError when the generator answers out of shape, or does not say which stop string ended a step; its own
   *   error when it fails; the signal's reason when it fires
   */
  expand(node: SearchNode, expansion: Expansion): Promise<SearchNode[]> {
    return this.#interruption.guard(this.#expand(node, expansion));
  }

  async #expand(node: SearchNode, expansion: Expansion): Promise<SearchNode[]> {
    const where = `${this.#strategy}: expand`;
    const { n, stop, role, prompt, prefix, ...report } = options(where, expansionShape).read(expansion);
    const { seed: _, ...sampling } = { ...this.#options.sampling, ...expansion.sampling };
    const maxTokens = expansion.maxTokens ?? sampling.maxTokens;
    const generator = this.#generator(role);
    if (node.state === 'ended' && prompt === undefined) {
      throw new InvalidArgumentError(
        `${where}: the model has ended this node's text. Give a prompt, or merge it to go on from its text all the same.`,
      );
    }
    this.#deadline.throwIfAborted();

    const way = role === undefined && prompt === undefined ? '' : JSON.stringify([role, prompt, prefix]);
    const place = `${node.key}/${way}`;
    const first = this.#tree.taken(place);
    const reservations = this.#grant(this.#tree.places(node.key, way, first, n), this.#generatingCost(maxTokens));
    if (reservations.length === 0) return [];
    this.#tree.take(place, reservations.length);
    const keys = this.#tree.places(node.key, way, first, reservations.length);
    const start = prompt === undefined ? node.text : prefix;
    const stops = [...stop, ...(sampling.stop ?? [])];
    const seed = childSeed(node.key, way) + first;
    const asking = await this.#rounds.ask({
      generator,
      reservations: [...reservations],
      request: {
        ...sampling,
        ...reported(report),
        ...(maxTokens === undefined ? {} : { maxTokens }),
        ...(stops.length === 0 ? {} : { stop: stops }),
        ...(start === '' ? {} : { prefix: start }),
        prompt: prompt ?? this.#problem.prompt,
      },
      seed,
    });
    if (stop.length > 0) assertStops(generator, asking.completions);
    this.#steps.count(stop, asking.completions);
    return this.#tree.grow({ parent: node, start, keys, stops: stop, seed, ...asking, role, prompt });
  }

  /**
   * Scores nodes: `score`, and `stepScores` where the verifier has them. Those that the budget does not allow stay as they are
   * and have a reason.
   *
   * @throws ContractError, the verifier's own error when it fails (unless `failures` is `drop`), the signal's reason when it fires
   */
  verify(nodes: readonly SearchNode[], how: Verification = {}): Promise<void> {
    return this.#interruption.guard(this.#verify(nodes, how));
  }

  async #verify(nodes: readonly SearchNode[], { role, problem }: Verification): Promise<void> {
    const verifier = role === undefined ? this.#options.verifier : this.#options.verifiers?.[role];
    if (!verifier) throw this.#without(role === undefined ? 'a verifier' : `verifiers.${role}`);
    this.#deadline.throwIfAborted();
    const reservations = this.#grant(
      nodes.map(({ key }) => key),
      this.#judgingCost,
    );
    for (const { node } of nodes.slice(reservations.length)) {
      node.reason = this.#exhausted === 'maxWallTimeMs' ? OVERTIME : `not verified: ${this.#exhausted}`;
    }
    await this.#judges.judge(verifier, nodes.slice(0, reservations.length), reservations, problem);
  }

  /**
   * Asks a judge which of two texts is better, each pair in its order: 1 for the first, 0 for the second, 1/2 for a tie, `null`
   * where the judge does not say, `undefined` where the budget does not allow it. A pair is one verifier call, at its first node.
   *
   * @throws ContractError, the judge's own error when it fails, the signal's reason when it fires
   */
  compare(judge: PairJudge, pairs: readonly NodePair[]): Promise<(number | null | undefined)[]> {
    return this.#interruption.guard(this.#compare(judge, pairs));
  }

  async #compare(judge: PairJudge, pairs: readonly NodePair[]): Promise<(number | null | undefined)[]> {
    this.#deadline.throwIfAborted();
    const keys = pairs.map(([{ key }]) => key);
    const reservations = this.#grant(keys, this.#judgingCost);
    const requests = pairs.slice(0, reservations.length).map((pair) => pairRequest(this.#problem, pair));
    const { verdicts } = await this.#judges.verdicts(pairVerifier(judge), requests, reservations);
    return pairs.map((_, i) => verdicts?.[i]?.score);
  }

  /**
   * A node of several, at no cost: thoughts that were put together, states found to be the same. Children of it go on from
   * `text` (default: the problem's prefix).
   */
  merge(nodes: readonly SearchNode[], payload?: unknown, text: string = this.root.text): SearchNode {
    return this.#tree.merge(nodes, payload, text);
  }

  /**
   * Marks the nodes and closes the search. With lists: `chosen` is the answer, `support` spoke for it, the other `candidates`
   * were dropped for `reason` unless they have one already; `votes` go from most to least weight. Over a tree or graph, the
   * chosen node with all that it came from and `support` are kept, and every other node is dropped.
   */
  finish(chosen: SearchNode, how?: Finish): SearchResult;
  finish(
    chosen: Candidate,
    support: readonly Candidate[],
    candidates: readonly Candidate[],
    votes: readonly Vote[],
    reason: string,
  ): SearchResult;
  finish(
    chosen: Candidate,
    how: Finish | readonly Candidate[] = {},
    candidates: readonly Candidate[] = this.#tree.nodes.slice(1),
    votes: readonly Vote[] = 'votes' in how ? (how.votes ?? []) : [],
    reason = 'reason' in how ? (how.reason ?? 'not chosen') : 'not chosen',
  ): SearchResult {
    const isOfSamples = Array.isArray(how);
    const support: readonly Candidate[] = isOfSamples ? how : ((how as Finish).support ?? []);
    this.#tree.mark(chosen, support, candidates, { reason, isOfSamples });
    // Of a completion that is whole it is known, be it that there is none; a thought or a merged text was not looked at.
    const { state } = chosen as Partial<SearchNode>;
    const isKnown = chosen.answer !== null || state === 'ended' || state === 'cut';
    const answer = isKnown ? chosen.answer : answerOf(this.#extract, chosen.text);
    if (!isOfSamples) chosen.node.answer = answer;
    const { exhausted } = this;
    return { text: chosen.text, answer, score: chosen.node.score ?? null, votes, exhausted, trace: this.#trace() };
  }

  /** The error for a search with nothing to return, to be thrown: `why` completes "strategy: …". It carries the trace. */
  nothing(why: string): NoCandidateError {
    const limit = this.exhausted ? ` The budget ended the search: ${this.exhausted}.` : '';
    return new NoCandidateError(`${this.#strategy}: ${why}${limit}`, this.#trace());
  }

  /** Whether the search goes on without what has failed so. @throws the reason of the caller's signal, when it has fired */
  #drops(cause: unknown): boolean {
    this.#deadline.throwIfAborted();
    return this.#options.failures === 'drop' && !(cause instanceof ContractError);
  }

  /** Reservations for as many nodes as may begin; what stands in the way of the rest has exhausted the budget. */
  #grant(keys: readonly string[], unit: Cost): readonly Reservation[] {
    const { limit, reservations } = this.#ledger.reserveEach(keys, unit);
    if (limit !== null) this.#exhausted = budgetLimit(limit);
    return reservations[0]!;
  }

  #generatingCost(maxTokens: number | undefined): Cost {
    return { completions: 1, completionTokens: maxTokens ?? 0 };
  }

  get #judgingCost(): Cost {
    return { verifierCalls: 1, verifierTokens: this.#options.budget?.tokensPerVerifierCall ?? 0 };
  }

  #generator(role: string | undefined): Generator {
    const generator = role === undefined ? this.#options.generator : this.#options.generators?.[role];
    if (!generator) throw this.#without(`generators.${role}`);
    return generator;
  }

  #without(what: string): InvalidArgumentError {
    return new InvalidArgumentError(`${this.#strategy}: needs ${what}, which the options do not have.`);
  }

  #trace(): Trace {
    this.#deadline.close();
    return traceOf({
      ...{ strategy: this.#strategy, problem: this.#problem, options: this.#options, exhausted: this.#exhausted },
      ...{ ledger: this.#ledger, rounds: this.#rounds, notes: this.#steps.notes, nodes: this.#tree.nodes },
    });
  }
}
