import {
  assertArgument,
  type Completion,
  type GenerateRequest,
  type Generator,
  sameJson,
  type Usage,
} from '@posttrain/interfaces';
import { assertTrace } from './arguments.js';
import { InvalidArgumentError } from './errors.js';
import type { Problem, StrategyOptions } from './search-options.js';
import type { SearchResult, Strategy } from './search-types.js';
import { promptHash, type Trace, type TraceNode, traceTexts } from './trace.js';

/** A search that was resumed, and how many of its completions came from the trace. */
export interface ResumedSearch extends SearchResult {
  readonly replayed: number;
}

/**
 * Continues a search from its trace: the strategy runs again, what the trace holds is taken from it, and only what it does not is asked
 * of the generators. A node's seed is a hash of its path, so the tree is the one that an uninterrupted search would have grown, and it
 * goes on where a budget or the wall time has ended it: give a larger budget, or a larger `n` where `n` counts simulations.
 *
 * Completions from the trace count in `spent` and against the budget as they did before. Judgements are made again, and token ids and
 * log-probabilities are in no trace: a verifier sees texts, and a strategy that asks for log-probabilities is refused. Samples
 * (`draw`) need a `sampling.seed`.
 *
 * @throws OptionError, InvalidArgumentError where problem, sampling, generators or strategy are not those of the trace
 */
export async function resumeSearch<Options extends StrategyOptions>(
  strategy: Strategy<Options>,
  trace: Trace,
  problem: Problem,
  options: Options,
): Promise<ResumedSearch> {
  const where = 'resumeSearch';
  assertTrace(where, trace);
  const { prompt, prefix = '' } = problem;
  const { sampling = {}, generator, generators = {} } = options;
  assertArgument(where, 'prompt', prompt, sameJson(prompt, trace.prompt), 'the prompt of the trace');
  assertArgument(where, 'prefix', prefix, prefix === trace.prefix, 'the prefix of the trace');
  assertArgument(where, 'sampling', sampling, sameJson(sampling, trace.sampling), 'the sampling of the trace');
  const known = new Map<string, TraceNode>();
  const texts = traceTexts(trace);
  const ownPrompt = promptHash(trace.prompt);
  for (const node of trace.nodes) {
    const isWhole = node.finishReason === 'stop' || node.finishReason === 'length';
    if (!isWhole || node.seed === undefined) continue;
    const start = node.prefix ?? texts.get(node.parent!)!;
    known.set(keyOf(node.role, node.seed, node.promptHash ?? ownPrompt, start), node);
  }
  const wasDrawn = trace.nodes.some(({ finishReason }) => finishReason !== null);
  if (wasDrawn && known.size === 0) {
    throw new InvalidArgumentError(
      `${where}: the trace has no seeds; samples can only be resumed with a sampling.seed.`,
    );
  }
  const counter = { replayed: 0 };
  const replaying = (inner: Generator, role?: string): Generator => {
    const name = role === undefined ? trace.generator : trace.generators?.[role];
    const field = role === undefined ? 'generator' : `generators.${role}`;
    assertArgument(where, field, inner.name, inner.name === name, `named as in the trace: ${name}`);
    return {
      name: inner.name,
      generate: (requests) => replay(requests, inner, (...asked) => known.get(keyOf(role, ...asked)), counter),
    };
  };
  const result = await strategy(problem, {
    ...options,
    generator: replaying(generator),
    ...(options.generators && {
      generators: Object.fromEntries(Object.entries(generators).map(([role, it]) => [role, replaying(it, role)])),
    }),
  });
  if (result.trace.strategy !== trace.strategy) {
    throw new InvalidArgumentError(
      `${where}: the trace is of ${trace.strategy}, and ${result.trace.strategy} was run; resume with the same strategy.`,
    );
  }
  return { ...result, replayed: counter.replayed };
}

/** Seeds alone are not enough: of ten thousand nodes two may share one. */
const keyOf = (role: string | undefined, seed: number, prompt: string, start: string): string =>
  JSON.stringify([role ?? '', seed, prompt, start]);

/** A run of completions of one request that must be asked for. */
interface Missing {
  readonly request: number;
  readonly first: number;
  readonly n: number;
}

async function replay(
  requests: readonly GenerateRequest[],
  inner: Generator,
  lookUp: (seed: number, prompt: string, start: string) => TraceNode | undefined,
  counter: { replayed: number },
): Promise<Completion[][]> {
  const missing: Missing[] = [];
  const answers = requests.map((request, i) => {
    const { n = 1, seed, prefix = '' } = request;
    if (request.logProbs || request.topLogProbs || request.entropies) {
      throw new InvalidArgumentError('resumeSearch: the strategy asks for log-probabilities, which are in no trace.');
    }
    const asked = promptHash(request.prompt);
    const found = Array.from({ length: n }, (_, k) =>
      seed === undefined ? undefined : lookUp(seed + k, asked, prefix),
    );
    for (let first = 0; first < n; ) {
      let end = first;
      while (end < n && !found[end]) end++;
      if (end > first) missing.push({ request: i, first, n: end - first });
      first = end + 1;
    }
    return found.map((node) => node && completionOf(node, prefix));
  });
  counter.replayed += answers.flat().filter((it) => it !== undefined).length;
  if (missing.length > 0) {
    const asked = await inner.generate(
      missing.map(({ request, first, n }) => {
        const { seed, ...rest } = requests[request]!;
        return { ...rest, n, ...(seed !== undefined && { seed: seed + first }) };
      }),
    );
    // What has the wrong shape is left to the search, which checks it.
    missing.forEach(({ request, first }, i) => {
      asked[i]?.forEach((completion, k) => {
        answers[request]![first + k] = completion;
      });
    });
  }
  return answers.map((list) => list.flatMap((it) => it ?? []));
}

function completionOf(node: TraceNode, prefix: string): Completion {
  const { text, stop, finishReason, promptTokens, cachedPromptTokens, completionTokens } = node;
  const usage: Usage = {
    promptTokens,
    ...(cachedPromptTokens !== undefined && { cachedPromptTokens }),
    completionTokens,
  };
  const start = node.prefix === undefined ? 0 : prefix.length;
  return {
    text: text.slice(start, text.length - (stop?.length ?? 0)),
    finishReason: finishReason!,
    stop: stop ?? null,
    usage,
  };
}
