import {
  assertArgument,
  custom,
  options as declare,
  type Given,
  hashText,
  number,
  type Prompt,
  type SamplingParams,
} from '@posttrain/interfaces';
import { assertTrace } from './arguments.js';
import type { Budget, BudgetLimit, Spending } from './budget.js';

/** What became of a node: the answer itself, support for the answer, or set aside. */
export type TraceStatus = 'chosen' | 'kept' | 'dropped';

/** One generated text. Node 0 is the problem; every other node continues its parent, or was merged of its parents. */
export interface TraceNode {
  readonly id: number;
  /** `null` only for the root; of several the first. */
  readonly parent: number | null;
  /** All parents, where it was merged of several. */
  readonly parents?: readonly number[];
  /** What it adds to its parent's text; of merged nodes, and with `prefix`, all of its text. */
  readonly text: string;
  /** What its text begins with, where that is not its parent's text: another prompt was asked. Part of `text`. */
  readonly prefix?: string;
  /** Hash of the prompt that it answers, where one was given in the place of the problem's. */
  readonly promptHash?: string;
  /** The seed that it was drawn with. */
  readonly seed?: number;
  readonly finishReason: 'stop' | 'length' | 'abort' | null;
  /** The stop string at its end, of a step: part of `text`. */
  readonly stop?: string;
  /** Which of the generators wrote it; absent: the one that is named above. */
  readonly role?: string;
  /** Tokens of this node alone, so that sums over nodes count everything once. */
  readonly promptTokens: number;
  /** Those of the prompt that were not computed for this node (a cached prefix); absent: the generator does not know. */
  readonly cachedPromptTokens?: number;
  readonly completionTokens: number;
  /** The normalised answer; `null` when none was found or none was looked for. */
  readonly answer: string | null;
  /** `null`: asked, not scorable. Absent: the verifier was not asked. */
  readonly score?: number | null;
  /** Of a process verifier, over all steps of the text. */
  readonly stepScores?: readonly number[];
  /** How often it was judged, where that is more than once, and the tokens that this took, where the verifier counts them. */
  readonly verifierCalls?: number;
  readonly verifierTokens?: number;
  /** What the strategy kept of it: visits and values, say. */
  readonly payload?: unknown;
  readonly explanation?: string;
  readonly status: TraceStatus;
  /** Why it was dropped. */
  readonly reason?: string;
}

/** Everything one search did, as plain data: `JSON.parse(traceToJson(trace))` equals `trace`. */
export interface Trace {
  readonly format: 'posttrain-trace';
  readonly version: 1;
  readonly strategy: string;
  /** Name of the generator. */
  readonly generator: string;
  /** Names of further generators by role. */
  readonly generators?: Readonly<Record<string, string>>;
  /** Name of the verifier, if the strategy had one. */
  readonly verifier: string | null;
  readonly prompt: Prompt;
  readonly prefix: string;
  readonly n: number;
  readonly sampling: SamplingParams;
  readonly budget: Budget;
  readonly exhausted: BudgetLimit | null;
  readonly spent: Readonly<Spending>;
  /** What is odd about the search and no error: that no step ended at a `stop`. */
  readonly notes?: readonly string[];
  readonly nodes: readonly TraceNode[];
}

/** What tells prompts apart in a trace. */
export const promptHash = (prompt: Prompt): string => hashText(JSON.stringify(prompt));

/** The whole text of every node, from the problem's prefix on, by its id. */
export function traceTexts(trace: Trace): Map<number, string> {
  assertTrace('traceTexts', trace);
  const texts = new Map<number, string>();
  for (const { id, parent, text, prefix, finishReason } of trace.nodes) {
    if (parent === null) texts.set(id, trace.prefix);
    else if (finishReason === null) texts.set(id, text === '' ? trace.prefix : text);
    else texts.set(id, prefix === undefined ? texts.get(parent)! + text : text);
  }
  return texts;
}

/** The trace as a JSON document, two spaces of indentation. */
export function traceToJson(trace: Trace): string {
  assertTrace('traceToJson', trace);
  return JSON.stringify(trace, null, 2);
}

const isCounts = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  Object.values(value).every((it) => typeof it === 'number' && Number.isFinite(it) && it >= 0);

const traceCostsOptions = declare(
  'traceCosts',
  {
    /** N, the parameters of the generator. */
    generator: number({ min: 0 }),
    /** Those of further generators by role, where they have others. */
    generators: custom<Readonly<Record<string, number>>>()('numbers of parameters by role', isCounts, {
      optional: true,
    }),
    /** Those of a verifier that counts its tokens. Default 0. */
    verifier: number({ default: 0, min: 0 }),
    /** What the machine takes while it searches, for the energy; measured, or the most that it may take. Default: not known. */
    watts: number({ optional: true, min: 0 }),
  },
  { aliases: { parameters: 'generator' } },
);
/** Parameters of the models that a search has asked. */
export type SearchModels = Given<typeof traceCostsOptions>;

/** What a search cost, as `computeOptimal` of `@posttrain/eval` takes it. */
export interface SearchCosts {
  readonly completionTokens: number;
  readonly verifierCalls: number;
  /**
   * 2 N a token of N parameters, prompts read (less what a cache had, where the generator says so) and tokens written; attention
   * over the context left out.
   */
  readonly flops: number;
  readonly wallTimeMs: number;
  /** `watts` for as long as it took. */
  readonly joules?: number;
}

/** Tokens, verifier calls, FLOPs, time and energy of one search. @throws OptionError */
export function traceCosts(trace: Trace, models: SearchModels): SearchCosts {
  const { generator, generators = {}, verifier, watts } = traceCostsOptions.read(models);
  assertTrace('traceCosts', trace);
  const { completionTokens, verifierCalls, verifierTokens = 0, wallTimeMs } = trace.spent;
  const flops = trace.nodes.reduce(
    (sum, { role, promptTokens, cachedPromptTokens = 0, completionTokens: written }) => {
      const parameters = (role === undefined ? undefined : generators[role]) ?? generator;
      return sum + 2 * parameters * (promptTokens - cachedPromptTokens + written);
    },
    2 * verifier * verifierTokens,
  );
  const joules = watts === undefined ? {} : { joules: (watts * wallTimeMs) / 1000 };
  return { completionTokens, verifierCalls, flops, wallTimeMs, ...joules };
}

/** One row of a cost table; plain, so `console.table` and any renderer take it. Sums over the problems searched. */
export interface CostRow {
  readonly strategy: string;
  /** Number of searches. */
  readonly problems: number;
  readonly completions: number;
  readonly generatorCalls: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly verifierCalls: number;
  /** Absent where no verifier counts tokens. */
  readonly verifierTokens?: number;
  readonly lostCompletions: number;
  readonly wallTimeMs: number;
  /** Searches that met a limit of their budget. */
  readonly exhausted: number;
}

/** What the searches cost: one row per strategy and n, in order of first appearance. */
export function traceTable(traces: readonly Trace[]): CostRow[] {
  const groups = new Map<string, Trace[]>();
  assertArgument('traceTable', 'traces', traces, Array.isArray(traces), 'a list of traces');
  for (const trace of traces) {
    assertTrace('traceTable', trace);
    const name = `${trace.strategy} (n=${trace.n})`;
    groups.set(name, [...(groups.get(name) ?? []), trace]);
  }
  return [...groups].map(([strategy, group]) => {
    const total = (key: keyof Spending) => group.reduce((sum, trace) => sum + (trace.spent[key] ?? 0), 0);
    const countsTokens = group.some(({ spent }) => spent.verifierTokens !== undefined);
    return {
      strategy,
      problems: group.length,
      completions: total('completions'),
      generatorCalls: total('generatorCalls'),
      promptTokens: total('promptTokens'),
      completionTokens: total('completionTokens'),
      verifierCalls: total('verifierCalls'),
      ...(countsTokens && { verifierTokens: total('verifierTokens') }),
      lostCompletions: total('lostCompletions'),
      wallTimeMs: total('wallTimeMs'),
      exhausted: group.filter((trace) => trace.exhausted !== null).length,
    };
  });
}
