import {
  assertArgument,
  assertKnownOptions,
  custom,
  type Generator,
  type Given,
  integer,
  type Option,
  type OptionHints,
  type OptionShape,
  type Options,
  oneOf,
  options,
  type Prompt,
  type SamplingParams,
  showValue,
  type Verifier,
} from '@posttrain/interfaces';
import type { AnswerExtractor } from '@posttrain/interfaces/answers';
import { hasMethod } from './arguments.js';
import { assertBudget, type Budget } from './budget.js';
import type { Trace } from './trace.js';

/** What is to be answered. */
export interface Problem {
  readonly prompt: Prompt;
  /** Start of the answer, continued by every completion; verifiers and extractors see it in front of the completion. */
  readonly prefix?: string;
  /** The dataset row, handed to the verifier. */
  readonly row?: Readonly<Record<string, unknown>>;
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
const isGenerator = (value: unknown): boolean => hasMethod(value, 'generate');
const isVerifier = (value: unknown): boolean => hasMethod(value, 'verify');
const isRecordOf = (value: unknown, isRight: (one: unknown) => boolean): boolean =>
  isObject(value) && Object.values(value).every(isRight);

/** The hint about the first of several by role that is none. */
const wrongRole =
  (what: string, isRight: (one: unknown) => boolean, hint: (value: unknown) => string | undefined) =>
  (value: unknown): string | undefined => {
    const [role, wrong] = (isObject(value) ? Object.entries(value) : []).find(([, one]) => !isRight(one)) ?? [];
    return role === undefined
      ? undefined
      : [`${what}.${role} is ${showValue(wrong)}.`, hint(wrong) ?? []].flat().join(' ');
  };

function generatorHint(value: unknown): string | undefined {
  if (hasMethod(value, 'generator')) return 'model.generator() gives one.';
  return value instanceof Promise ? 'It is a promise: await it first.' : undefined;
}

function verifierHint(value: unknown): string | undefined {
  if (value === undefined) return 'majorityVote does without.';
  if (typeof value !== 'function') return undefined;
  const name = value.name === '' ? 'mine' : value.name;
  return `functionVerifier('${name}', ${name}) makes one of a function.`;
}

/** Who judges the completions: a verifier, a reward model's, or `functionVerifier(name, f)`. */
export const verifierOption: Option<Verifier, 'required'> = custom<Verifier>()(
  'an object with verify(requests)',
  isVerifier,
  { hint: verifierHint },
);

export const strategyShape = {
  /** Who is asked: a local model's `LocalGenerator`, an endpoint, or an object of one's own with `name` and `generate`. */
  generator: custom<Generator>()('an object with generate(requests)', isGenerator, { hint: generatorHint }),
  /** Completions to draw; of a search over a tree or graph its width, as the strategy says. */
  n: integer({ min: 1 }),
  /** How to draw them. With a `seed`, the call for completions i, i+1, … uses `seed + i`; a tree's seeds hash it with paths. */
  sampling: custom<SamplingParams>()('an object, as { temperature, maxTokens }', isObject, { optional: true }),
  /** Default: no limit. */
  budget: custom<Budget>()('an object, as { maxCompletions }', isObject, { optional: true }),
  /**
   * Completions per generator call; of samples, each batch is verified before the next is drawn. Default: all that are asked
   * for together.
   */
  batchSize: integer({ optional: true, min: 1 }),
  /** Finds the answers that are counted. Default: the verifier's, where it finds one (`Verdict.answer`), else `extractFinalAnswer`. */
  extractAnswer: custom<AnswerExtractor>()(
    'a function of a text: (text) => answer or null',
    (value) => typeof value === 'function',
    { optional: true },
  ),
  /** Further generators by role, for strategies that ask several. */
  generators: custom<Readonly<Record<string, Generator>>>()(
    'generators by role, each an object with generate(requests)',
    (value) => isRecordOf(value, isGenerator),
    { optional: true, hint: wrongRole('generators', isGenerator, generatorHint) },
  ),
  /** Further verifiers by role. */
  verifiers: custom<Readonly<Record<string, Verifier>>>()(
    'verifiers by role, each an object with verify(requests)',
    (value) => isRecordOf(value, isVerifier),
    { optional: true, hint: wrongRole('verifiers', isVerifier, verifierHint) },
  ),
  /**
   * How often a generator call that failed is made again, each request by itself then, so that one that cannot be answered
   * loses only itself. Every attempt is charged with the most that it can have taken. Default 0.
   */
  retries: integer({ optional: true, min: 0 }),
  /**
   * What is done where a call of a generator or a verifier has failed for good: the search rejects with its error (`throw`), or goes on
   * without what was asked for in it (`drop`): such nodes are in the trace with a reason, or stay unverified. A call is a whole batch; with
   * `retries` of at least 1 each request of it is by itself at last, and only the branch that fails is lost. Broken contracts and the
   * caller's signal always end the search. Default `throw`.
   */
  failures: oneOf(['throw', 'drop'], { optional: true }),
  /** Stops the search: it rejects with the signal's reason. */
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
  /**
   * Called with the trace so far where the search ends by an error (its signal has fired, a call has failed), before it rejects:
   * `resumeSearch` goes on from it.
   */
  onInterrupted: custom<(trace: Trace) => void>()('a function of a trace', (value) => typeof value === 'function', {
    optional: true,
  }),
};

/** What every strategy takes. */
export type StrategyOptions = Given<Options<typeof strategyShape>>;

/** What every strategy that judges completions takes. */
export interface VerifiedStrategyOptions extends StrategyOptions {
  readonly verifier: Verifier;
}

/** What a search is run with: the options of its strategy. */
export type SearchOptions = StrategyOptions & { readonly verifier?: Verifier };

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

/** The declared options of a strategy, as `Search` takes them. */
export interface DeclaredStrategy {
  /** The strategy's name in traces and errors. */
  readonly where: string;
  /** The options by name. A step search has `stop`. */
  readonly shape?: OptionShape;
  read(given: never): unknown;
}

/** The options of each strategy of its own, by its name: what docs/tts/options.md is rendered from. */
export const declaredStrategies = new Map<string, OptionShape>();

/**
 * Declares a strategy's options: those that all have, and its own; `verifier: verifierOption` where it judges completions.
 * `strategyOptions('best-of-n', { verifier: verifierOption })`
 */
export const strategyOptions = <const S extends OptionShape>(
  strategy: string,
  own: S,
): Options<typeof strategyShape & S> => {
  declaredStrategies.set(strategy, own);
  return options(strategy, { ...strategyShape, ...own }, STRATEGY_HINTS);
};

/** @throws OptionError; InvalidArgumentError for limits that do not go together */
export function assertSearch(declared: DeclaredStrategy, problem: Problem, given: SearchOptions): void {
  declared.read(given as never);
  const where = `${declared.where}: problem`;
  assertKnownOptions(where, problem, PROBLEM_KEYS);
  const isPrompt = typeof problem.prompt === 'string' || Array.isArray(problem.prompt);
  assertArgument(where, 'prompt', problem.prompt, isPrompt, 'a text or a list of messages');
  assertBudget(declared.where, given.budget ?? {}, given.sampling?.maxTokens);
}
