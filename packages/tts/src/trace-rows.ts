import { assertArgument, type ChatMessage, type Prompt } from '@posttrain/interfaces';
import { assertTrace } from './arguments.js';
import { type Trace, type TraceNode, traceTexts } from './trace.js';

/** A solution to be imitated: a prompt–completion row of supervised fine-tuning. */
export interface SolutionRow {
  readonly prompt: Prompt;
  readonly completion: string | readonly ChatMessage[];
  readonly score: number | null;
}

/** Two texts that the search has drawn from the same place: a row of preference training. */
export interface SiblingRow {
  readonly prompt: Prompt;
  readonly chosen: string | readonly ChatMessage[];
  readonly rejected: string | readonly ChatMessage[];
  /** Of the chosen less that of the rejected. */
  readonly margin: number;
}

/** A solution by steps with a label each, as process reward models are trained on. */
export interface StepwiseRow {
  readonly prompt: Prompt;
  readonly completions: readonly string[];
  /** What the search knows of each step: Q of a Monte Carlo tree search, else the score. */
  readonly labels: readonly number[];
}

interface Kinds {
  readonly completion: SolutionRow;
  readonly preference: SiblingRow;
  readonly stepwise: StepwiseRow;
}

/** What a trace is made into. */
export interface TraceRowsOptions<Kind extends keyof Kinds = keyof Kinds> {
  readonly kind: Kind;
  /** Of `completion` and `stepwise`: the score that a solution has at least. Default: only the chosen one, whatever its score. */
  readonly minScore?: number;
  /** Of `preference`: by how much a score must be higher. Default 0: higher at all. */
  readonly minMargin?: number;
}

const KINDS = ['completion', 'preference', 'stepwise'] as const;

/**
 * The rows that a search has to teach (distillation of test-time compute into the model): what it found, what it preferred and what it
 * knows of steps.
 *
 * - `completion`: the chosen solution, or all that have ended with `minScore`, each text once;
 * - `preference`: of the children of one node, each that has ended or is a step, the highest scored against each that is lower;
 * - `stepwise`: the same solutions by steps, with Q (payload `q`) or score of each as its label; a solution one of whose steps has
 *   none is left out.
 *
 * Texts that answered another prompt (evaluations, reflections) or another generator are no part of it. A conversation's rows are
 * messages; the problem's prefix is part of what the model said.
 */
export function traceRows<Kind extends keyof Kinds>(trace: Trace, options: TraceRowsOptions<Kind>): Kinds[Kind][] {
  assertTrace('traceRows', trace);
  const { kind, minScore, minMargin = 0 } = options;
  assertArgument('traceRows', 'kind', kind, KINDS.includes(kind), `one of ${KINDS.join(', ')}`);
  const reader = new TraceReader(trace);
  const rows = {
    completion: () => reader.solutions(minScore).map((node) => reader.solution(node)),
    preference: () => reader.preferences(minMargin),
    stepwise: () => reader.solutions(minScore).flatMap((node) => reader.steps(node) ?? []),
  };
  return rows[kind]() as Kinds[Kind][];
}

class TraceReader {
  readonly #trace: Trace;
  readonly #texts: ReadonlyMap<number, string>;

  constructor(trace: Trace) {
    this.#trace = trace;
    this.#texts = traceTexts(trace);
  }

  /** Ended texts, each once: the chosen one, or all of at least this score. */
  solutions(minScore: number | undefined): TraceNode[] {
    const seen = new Set<string>();
    return this.#trace.nodes.filter((node) => {
      const isWanted = minScore === undefined ? node.status === 'chosen' : (node.score ?? -Infinity) >= minScore;
      const text = this.#texts.get(node.id)!;
      // A solution may have been put together: of proposals, or of the steps of a trajectory.
      const isMerged = node.status === 'chosen' && node.finishReason === null && node.text !== '';
      if (!isWanted || !(isMerged || this.#isOfProblem(node)) || node.stop !== undefined || seen.has(text))
        return false;
      seen.add(text);
      return true;
    });
  }

  solution(node: TraceNode): SolutionRow {
    const text = this.#texts.get(node.id)!;
    return { prompt: this.#trace.prompt, completion: this.#said(text), score: node.score ?? null };
  }

  preferences(minMargin: number): SiblingRow[] {
    const groups = new Map<number, TraceNode[]>();
    for (const node of this.#trace.nodes) {
      if (!this.#isOfProblem(node) || typeof node.score !== 'number') continue;
      groups.set(node.parent!, [...(groups.get(node.parent!) ?? []), node]);
    }
    return [...groups.values()].flatMap((siblings) => {
      const best = siblings.reduce((a, b) => (b.score! > a.score! ? b : a));
      return siblings.flatMap((other): SiblingRow[] => {
        const margin = best.score! - other.score!;
        if (margin <= 0 || margin < minMargin) return [];
        const [chosen, rejected] = [best, other].map(({ id }) => this.#said(this.#texts.get(id)!));
        return [{ prompt: this.#trace.prompt, chosen: chosen!, rejected: rejected!, margin }];
      });
    });
  }

  steps(node: TraceNode): StepwiseRow | undefined {
    const path: TraceNode[] = [];
    for (let at: TraceNode | undefined = node; at && at.parent !== null; at = this.#trace.nodes[at.parent])
      path.unshift(at);
    if (!path.every((it) => this.#isOfProblem(it))) return undefined;
    const labels = path.map(({ payload, score }) => {
      const q = (payload as { q?: unknown } | undefined)?.q;
      return typeof q === 'number' ? q : score;
    });
    if (!labels.every((label) => typeof label === 'number')) return undefined;
    const [first, ...rest] = path.map(({ text }) => text);
    const completions = [this.#trace.prefix + first, ...rest];
    return { prompt: this.#trace.prompt, completions, labels };
  }

  /** Whether it goes on from the problem, by the model that the trace is of. */
  #isOfProblem({ parent, finishReason, prefix, role }: TraceNode): boolean {
    const isText = finishReason === 'stop' || finishReason === 'length';
    return parent !== null && isText && prefix === undefined && role === undefined;
  }

  #said(text: string): string | readonly ChatMessage[] {
    return typeof this.#trace.prompt === 'string' ? text : [{ role: 'assistant', content: text }];
  }
}
