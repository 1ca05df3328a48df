import { assertArgument, type ChatMessage, type Prompt } from '@posttrain/interfaces';
import { assertTrace } from './arguments.js';
import { processPreferences, type ValuedNode } from './process-preference.js';
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

/** Two steps that the search has tried from the same place, of which both came behind the same text: a row of preference training. */
export interface StepRow {
  /** The problem, and what the solution had come to. */
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
}

/** Two such steps with what the search knows of them: Q of a Monte Carlo tree search, else the score. */
export interface StepValueRow extends StepRow {
  readonly chosen_value: number;
  readonly rejected_value: number;
}

interface Kinds {
  readonly completion: SolutionRow;
  readonly preference: SiblingRow;
  readonly chain: StepRow;
  readonly 'step-value': StepValueRow;
  readonly 'process-preference': StepValueRow;
  readonly stepwise: StepwiseRow;
}

/** What a trace is made into. */
export interface TraceRowsOptions<Kind extends keyof Kinds = keyof Kinds> {
  readonly kind: Kind;
  /**
   * Of `completion`, `stepwise` and `chain`: the score that a solution has at least. Default: only the chosen one, whatever its score. Of
   * `process-preference`: the score that a right solution has at least, default 1.
   */
  readonly minScore?: number;
  /** Of `preference` and `step-value`: by how much a score or value must be higher. Default 0: higher at all. */
  readonly minMargin?: number;
}

const KINDS = ['completion', 'preference', 'chain', 'step-value', 'process-preference', 'stepwise'] as const;

/**
 * The rows that a search has to teach (distillation of test-time compute into the model): what it found, what it preferred and what it
 * knows of steps.
 *
 * - `completion`: the chosen solution, or all that have ended with `minScore`, each text once;
 * - `preference`: of the children of one node, each that has ended or is a step, the highest scored against each that is lower;
 * - `chain`: chain of preference optimization (CPO, arXiv 2406.09136): each step on the way to a solution against each other step from the
 *   same place that is on no such way, behind the steps before it;
 * - `step-value`: step-level value preferences (SVPO, arXiv 2406.10858): of all steps from one place, each against each that Q (payload `q`), or
 *   the score where there is none, holds for worse, behind the steps before them, with both values;
 * - `process-preference`: what the process preference model of rStar-Math is trained on (PPM, arXiv 2501.04519; `processPreferences`): the two steps
 *   from one place of highest Q that lead to a right solution, each against the two of lowest Q that lead to a wrong one;
 * - `stepwise`: the same solutions by steps, with Q (payload `q`) or score of each as its label; a solution one of whose steps has
 *   none is left out.
 *
 * Texts that answered another prompt (evaluations, reflections) or another generator are no part of it. A conversation's rows are
 * messages; the problem's prefix is part of what the model said. `chain`, `step-value` and `process-preference`
 * need a prompt that is a text, which steps can stand behind.
 */
export function traceRows<Kind extends keyof Kinds>(trace: Trace, options: TraceRowsOptions<Kind>): Kinds[Kind][] {
  assertTrace('traceRows', trace);
  const { kind, minScore, minMargin = 0 } = options;
  assertArgument('traceRows', 'kind', kind, KINDS.includes(kind), `one of ${KINDS.join(', ')}`);
  const reader = new TraceReader(trace);
  const rows = {
    completion: () => reader.solutions(minScore).map((node) => reader.solution(node)),
    preference: () => reader.preferences(minMargin),
    chain: () => reader.chains(reader.solutions(minScore)),
    'step-value': () => reader.stepValues(minMargin),
    'process-preference': () => reader.processPreferences(minScore ?? 1, minMargin),
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
    return this.#siblings((node) => typeof node.score === 'number').flatMap((siblings) => {
      const best = siblings.reduce((a, b) => (b.score! > a.score! ? b : a));
      return siblings.flatMap((other): SiblingRow[] => {
        const margin = best.score! - other.score!;
        if (margin <= 0 || margin < minMargin) return [];
        const [chosen, rejected] = [best, other].map(({ id }) => this.#said(this.#texts.get(id)!));
        return [{ prompt: this.#trace.prompt, chosen: chosen!, rejected: rejected!, margin }];
      });
    });
  }

  chains(solutions: readonly TraceNode[]): StepRow[] {
    const paths = solutions.map((node) => this.#path(node)).filter((path) => path.every((it) => this.#isOfProblem(it)));
    const ways = new Set(paths.flat());
    return this.#siblings().flatMap((siblings) => {
      const [better, worse] = [siblings.filter((it) => ways.has(it)), siblings.filter((it) => !ways.has(it))];
      const others = (chosen: TraceNode) => worse.filter(({ text }) => text !== chosen.text);
      return this.#pairs(better.flatMap((chosen) => others(chosen).map((rejected) => [chosen, rejected] as const)));
    });
  }

  stepValues(minMargin: number): StepValueRow[] {
    return this.#siblings((node) => typeof knownValue(node) === 'number').flatMap((siblings) => {
      const pairs = siblings.flatMap((chosen) => {
        const margin = (rejected: TraceNode) => knownValue(chosen)! - knownValue(rejected)!;
        const worse = siblings.filter((it) => it.text !== chosen.text && margin(it) > 0 && margin(it) >= minMargin);
        return worse.map((rejected) => [chosen, rejected] as const);
      });
      return this.#valuedPairs(pairs);
    });
  }

  processPreferences(minScore: number, minMargin: number): StepValueRow[] {
    const below = new Map<number, TraceNode[]>();
    for (const node of this.#trace.nodes) {
      if (!this.#isOfProblem(node) || typeof knownValue(node) !== 'number') continue;
      below.set(node.parent!, [...(below.get(node.parent!) ?? []), node]);
    }
    const valued = (node: TraceNode): ValuedNode => ({
      ...{ node, value: knownValue(node) ?? 0, children: (below.get(node.id) ?? []).map(valued) },
      isRight:
        node.parent !== null && node.stop === undefined && typeof node.score === 'number'
          ? node.score >= minScore
          : undefined,
    });
    const pairs = processPreferences(valued(this.#trace.nodes[0]!));
    const wide = pairs.filter(([chosen, rejected]) => chosen.value - rejected.value >= minMargin);
    return this.#valuedPairs(wide.map(([chosen, rejected]) => [chosen.node, rejected.node]));
  }

  #valuedPairs(pairs: readonly (readonly [chosen: TraceNode, rejected: TraceNode])[]): StepValueRow[] {
    return this.#pairs(pairs).map((row, i) => {
      const [chosen_value, rejected_value] = pairs[i]!.map((node) => knownValue(node)!) as [number, number];
      return { ...row, chosen_value, rejected_value };
    });
  }

  /** Children of one node, for each that has several which the model said. */
  #siblings(isWanted: (node: TraceNode) => boolean = () => true): TraceNode[][] {
    const groups = new Map<number, TraceNode[]>();
    for (const node of this.#trace.nodes) {
      if (!this.#isOfProblem(node) || !isWanted(node)) continue;
      groups.set(node.parent!, [...(groups.get(node.parent!) ?? []), node]);
    }
    return [...groups.values()];
  }

  #pairs(pairs: readonly (readonly [chosen: TraceNode, rejected: TraceNode])[]): StepRow[] {
    const { prompt, prefix } = this.#trace;
    assertArgument(
      'traceRows',
      'trace.prompt',
      prompt,
      typeof prompt === 'string',
      'a text for rows of chain, step-value and process-preference, whose steps stand behind it (completion, preference and stepwise take conversations)',
    );
    return pairs.map(([{ parent, text: chosen }, { text: rejected }]) => {
      // Behind the root is the problem's prefix alone.
      const before = this.#trace.nodes[parent!]!.parent === null ? prefix : this.#texts.get(parent!)!;
      return { prompt: `${prompt}${before}`, chosen, rejected };
    });
  }

  #path(node: TraceNode): TraceNode[] {
    const path: TraceNode[] = [];
    for (let at: TraceNode | undefined = node; at && at.parent !== null; at = this.#trace.nodes[at.parent])
      path.unshift(at);
    return path;
  }

  steps(node: TraceNode): StepwiseRow | undefined {
    const path = this.#path(node);
    if (!path.every((it) => this.#isOfProblem(it))) return undefined;
    const labels = path.map(knownValue);
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

/** What the search knows of a step. */
function knownValue({ payload, score }: TraceNode): number | null | undefined {
  const q = (payload as { q?: unknown } | undefined)?.q;
  return typeof q === 'number' ? q : score;
}
