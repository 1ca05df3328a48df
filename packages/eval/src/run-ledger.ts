import { custom, type Given, number, options, type Usage } from '@posttrain/interfaces';
import type { AgentProblem } from './kinds/agent.js';
import type { PairwiseProblem } from './kinds/pairwise.js';
import type { EvalResult, GenerateProblem, ProblemBase } from './log/format.js';

/** Prices in any currency, for a million tokens. */
export interface Prices {
  readonly prompt: number;
  readonly completion: number;
  /** Of prompt tokens that a cache had. Default: as `prompt`. */
  readonly cachedPrompt?: number;
}

const isPrices = (value: unknown): boolean => {
  const { prompt, completion, cachedPrompt = 0 } = (value ?? {}) as Partial<Prices>;
  return [prompt, completion, cachedPrompt].every((price) => Number.isFinite(price) && price! >= 0);
};

const ledgerOptions = options('runLedger', {
  /** Of the model. Default: money is not counted. */
  prices: custom<Prices>()(
    'prices { prompt, completion, cachedPrompt? } of at least 0 for a million tokens',
    isPrices,
    { optional: true },
  ),
  /** Of what judges and verifiers took. Default: as `prices`. */
  gradingPrices: custom<Prices>()(
    'prices { prompt, completion, cachedPrompt? } of at least 0 for a million tokens',
    isPrices,
    { optional: true },
  ),
  /** Operations of `tokens` tokens behind `context` others: a difference of two `decoderForwardFlops` (`causal`), or 2 N a token. Default: not counted. */
  flops: custom<(tokens: number, context: number) => number>()(
    'a function of tokens and their context',
    (value) => typeof value === 'function',
    {
      optional: true,
    },
  ),
  /** Watts of the machine while it works. Default: energy is not counted. */
  watts: number({ optional: true, min: 0 }),
});
/** Options of `runLedger`. */
export type RunLedgerOptions = Given<typeof ledgerOptions>;

/** What something took. What is not known is absent, and never 0. */
export interface Spent {
  /** Requests of the model: one a completion, or an agent's calls. */
  readonly calls: number;
  /** As the model counted them; a prompt that was sampled n times counts as often as the model says. */
  readonly promptTokens: number;
  readonly cachedPromptTokens: number;
  readonly completionTokens: number;
  /** Of graders, verifiers and judges that count theirs. */
  readonly gradingTokens: number;
  /** Wall-clock seconds. */
  readonly seconds: number;
  /** Bytes of prompts and completions as UTF-8: what went over a wire, without its protocol. */
  readonly bytes: number;
  readonly flops?: number;
  readonly joules?: number;
  readonly money?: number;
}

/** What a run took, by problem and together. */
export interface RunLedger {
  readonly problems: readonly (Spent & { readonly id: string })[];
  readonly total: Spent;
}

/**
 * The ledger of a run from its log: calls, tokens, bytes, seconds, and, with what the user says of them, operations, energy and money. The total is the sum over problems, and its tokens are
 * the run's `usage`; those of an opponent are not in it. Operations are of the tokens that were computed: prompt tokens that a cache had are left out.
 *
 * @throws OptionError
 */
export function runLedger(result: EvalResult, given: RunLedgerOptions = {}): RunLedger {
  const { prices, gradingPrices = prices, flops, watts } = ledgerOptions.read(given);
  const problems = result.problems.map((problem) => {
    const { usages, texts, calls, grading } = partsOf(problem);
    const sum = (of: (usage: Usage) => number): number => usages.reduce((total, usage) => total + of(usage), 0);
    const cached = sum(({ cachedPromptTokens = 0 }) => cachedPromptTokens);
    const spent = {
      calls,
      promptTokens: sum(({ promptTokens }) => promptTokens),
      cachedPromptTokens: cached,
      completionTokens: sum(({ completionTokens }) => completionTokens),
    };
    const judged = grading.reduce((total, usage) => total + usage.promptTokens + usage.completionTokens, 0);
    const bytes = texts.reduce((total, text) => total + Buffer.byteLength(text, 'utf8'), 0);
    return {
      id: problem.id,
      ...spent,
      gradingTokens: judged,
      seconds: problem.seconds,
      bytes,
      ...(flops && {
        flops: usages.reduce((total, { promptTokens, cachedPromptTokens = 0, completionTokens }) => {
          const computed = promptTokens - cachedPromptTokens;
          return total + flops(computed, cachedPromptTokens) + flops(completionTokens, promptTokens);
        }, 0),
      }),
      ...(watts !== undefined && { joules: watts * problem.seconds }),
      ...(prices && {
        money: moneyOf(usages, prices) + moneyOf(grading, gradingPrices ?? prices),
      }),
    };
  });
  const keys = [
    'calls',
    'promptTokens',
    'cachedPromptTokens',
    'completionTokens',
    'gradingTokens',
    'seconds',
    'bytes',
  ] as const;
  const added = (key: keyof Spent): number => problems.reduce((total, problem) => total + (problem[key] ?? 0), 0);
  return {
    problems,
    total: {
      ...(Object.fromEntries(keys.map((key) => [key, added(key)])) as Record<(typeof keys)[number], number>),
      ...(flops && { flops: added('flops') }),
      ...(watts !== undefined && { joules: added('joules') }),
      ...(prices && { money: added('money') }),
    },
  };
}

function moneyOf(usages: readonly Usage[], { prompt, completion, cachedPrompt = prompt }: Prices): number {
  return usages.reduce((sum, { promptTokens, cachedPromptTokens = 0, completionTokens }) => {
    const tokens =
      (promptTokens - cachedPromptTokens) * prompt + cachedPromptTokens * cachedPrompt + completionTokens * completion;
    return sum + tokens / 1e6;
  }, 0);
}

/** What the ledger counts of a record, whatever its kind. */
function partsOf(problem: ProblemBase) {
  const { completions, completion, verdicts, messages, usage, modelCalls, choices } = problem as ProblemBase &
    Partial<GenerateProblem> &
    Partial<PairwiseProblem> &
    Partial<AgentProblem> & { readonly choices?: readonly { readonly text: string }[] };
  const written = Array.isArray(completions) ? completions : [];
  // An opponent may be another model, with other prices; it is not what the run is about.
  const sides = completion ? [completion] : [];
  const grading = [
    ...written.flatMap(({ grades, verifierScores = {} }) => [
      ...Object.values(grades),
      ...Object.values(verifierScores),
    ]),
    ...(Array.isArray(verdicts) ? verdicts : []),
  ].flatMap(({ usage: of }) => of ?? []);
  const said = messages?.map(({ content }) => content) ?? [];
  const calls =
    modelCalls ??
    (messages
      ? messages.filter(({ role }) => role === 'assistant').length
      : written.length + sides.length + (choices?.length ?? 0));
  const { prompt } = problem;
  const asked = typeof prompt === 'string' ? prompt : prompt.map(({ content }) => content).join('');
  return {
    calls,
    grading,
    usages: [
      ...written.map((one) => one.usage),
      ...sides.flatMap((side) => side.usage ?? []),
      ...(usage ? [usage] : []),
    ],
    texts: [
      asked,
      ...written.map(({ text }) => text),
      ...sides.map(({ text }) => text),
      ...(choices ?? []).map(({ text }) => text),
      ...said,
    ],
  };
}
