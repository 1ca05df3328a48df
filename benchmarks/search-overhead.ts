/**
 * What a search itself costs a node: searches of a tree over a generator and a verifier that take no time, from the smallest
 * number of nodes to the largest, so that what grows faster than the tree is seen. The promise is under 1 ms a node at 10,000 nodes.
 *
 * usage: npx tsx benchmarks/search-overhead.ts [--nodes 100,1000,10000] [--repetitions 3]
 */
import { parseArgs } from 'node:util';
import { type Completion, type Generator, hashText, type Verifier } from '@posttrain/interfaces';
import {
  alphaLlm,
  bestOfN,
  diverseVerifierTreeSearch,
  lats,
  mctSelfRefine,
  mcts,
  NoCandidateError,
  particleFiltering,
  rebase,
  restMcts,
  type SearchResult,
  stepBeamSearch,
  type Trace,
  traceToHtml,
  traceToJson,
} from '@posttrain/tts';
import { renderMarkdown } from './render.js';

const { values: flags } = parseArgs({
  options: {
    nodes: { type: 'string', default: '100,1000,10000' },
    repetitions: { type: 'string', default: '3' },
  },
});
const sizes = flags.nodes.split(',').map(Number);
const DEPTH = 8;

const number = (text: string): number => Number.parseInt(hashText(text).slice(-6), 16) / 2 ** 24;
/** Steps of a few letters that are a function of prompt, prefix and seed. */
const generator: Generator = {
  name: 'no time',
  generate: async (requests) =>
    requests.map(({ prompt, prefix = '', seed = 0, n = 1, stop = [] }) =>
      Array.from({ length: n }, (_, i): Completion => {
        const isLast = prefix.split('\n').length > DEPTH;
        return {
          text: hashText(JSON.stringify([prompt, prefix, seed + i])).slice(0, 6),
          finishReason: 'stop',
          stop: isLast ? null : (stop[0] ?? null),
          usage: { promptTokens: 8, completionTokens: 4 },
        };
      }),
    ),
};
const verifier: Verifier = {
  name: 'no time',
  verify: async (requests) => requests.map(({ completion }) => ({ score: 0.8 * number(completion) })),
};
const shared = { generator, verifier, stop: ['\n'] };
const problem = { prompt: 'Which letters?' };
const multiple = (nodes: number, of: number) => Math.max(of, of * Math.round(nodes / of));

/** Searches by name, each of about so many nodes. */
const searches: Readonly<Record<string, (nodes: number) => Promise<SearchResult>>> = {
  bestOfN: (nodes) => bestOfN(problem, { generator, verifier, n: nodes }),
  stepBeamSearch: (nodes) => stepBeamSearch(problem, { ...shared, n: multiple(nodes / (DEPTH + 1), 4) }),
  diverseVerifierTreeSearch: (nodes) =>
    diverseVerifierTreeSearch(problem, { ...shared, n: multiple(nodes / (DEPTH + 1), 4) }),
  rebase: (nodes) => rebase(problem, { ...shared, n: Math.ceil(nodes / (DEPTH + 1)) }),
  particleFiltering: (nodes) => particleFiltering(problem, { ...shared, n: Math.ceil(nodes / (DEPTH + 1)) }),
  mcts: (nodes) => mcts(problem, { ...shared, n: Math.ceil(nodes / 5), width: 4 }),
  restMcts: (nodes) => restMcts(problem, { ...shared, n: Math.ceil(nodes / 6), endValue: 1 }),
  alphaLlm: (nodes) => alphaLlm(problem, { ...shared, n: Math.ceil(nodes / 5), maxChildren: 6 }),
  lats: (nodes) =>
    lats(problem, {
      ...{ ...shared, n: Math.ceil(nodes / 20), width: 4, maxDepth: DEPTH },
      ...{ reflectPrompt: (failed) => `Why ${failed}`, memoryPrompt: (known) => known.join() },
    }),
  mctSelfRefine: (nodes) =>
    mctSelfRefine(problem, {
      ...{ generator, verifier, n: Math.ceil(nodes / 2) },
      ...{ feedbackPrompt: (answer) => `Faults of ${answer}`, refinePrompt: (answer, faults) => `${answer} ${faults}` },
    }),
};

/** Of a search whose tree had no end yet, which is no less work. */
function traceOf(error: unknown): Trace {
  if (error instanceof NoCandidateError) return error.trace;
  throw error;
}

const rows: string[][] = [];
for (const [name, search] of Object.entries(searches)) {
  for (const size of sizes) {
    let best = Number.POSITIVE_INFINITY;
    let trace: Trace | undefined;
    for (let i = 0; i < Number(flags.repetitions); i++) {
      const begun = performance.now();
      trace = await search(size).then(({ trace }) => trace, traceOf);
      best = Math.min(best, performance.now() - begun);
    }
    if (!trace) throw new Error('--repetitions must be at least 1');
    const begun = performance.now();
    traceToJson(trace);
    traceToHtml(trace);
    const shown = performance.now() - begun;
    const { length } = trace.nodes;
    const perNode = (milliseconds: number) => (milliseconds / length).toFixed(4);
    rows.push([name, String(length), best.toFixed(0), perNode(best), perNode(shown)]);
  }
}
console.log(renderMarkdown([['search', 'nodes', 'ms', 'ms a node', 'ms a node, JSON and page'], ...rows]));
