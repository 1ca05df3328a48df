import { custom, type Given, integer, oneOf, options } from '@posttrain/interfaces';
import { strip } from '@posttrain/interfaces/python';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import { EvaluationError } from '../errors.js';
import { meanScore } from '../metrics/mean.js';
import type { GenerateTask } from '../task.js';
import { type CountTokens, fitSize } from './fit.js';
import { different } from './ruler/needles.js';

/** A graph and what is asked about it. */
export interface GraphRow {
  readonly prompt: string;
  /** Names of the nodes that are right. */
  readonly answer: readonly string[];
  readonly edges: readonly (readonly [from: string, to: string])[];
  readonly start: string;
  readonly depth: number;
  readonly tokens: number;
}

/** Nodes that are exactly `depth` steps from a node, along the edges: the last layer of a breadth-first search. */
export function bfsLayer(edges: readonly (readonly [string, string])[], start: string, depth: number): string[] {
  const next = new Map<string, string[]>();
  for (const [from, to] of edges) next.set(from, [...(next.get(from) ?? []), to]);
  const seen = new Set([start]);
  let layer = [start];
  for (let i = 0; i < depth; i++) {
    layer = [...new Set(layer.flatMap((node) => next.get(node) ?? []))].filter((node) => !seen.has(node));
    for (const node of layer) seen.add(node);
  }
  return layer;
}

/** Nodes that have an edge to a node. */
export const parentsOf = (edges: readonly (readonly [string, string])[], node: string): string[] => [
  ...new Set(edges.filter(([, to]) => to === node).map(([from]) => from)),
];

const graphOptions = options('graphWalks', {
  /** The nodes that are so far away (`bfs`), or those that lead to one (`parents`). Default `bfs`. */
  problem: oneOf(['bfs', 'parents'], { default: 'bfs' }),
  /** Tokens of a problem. */
  length: integer({ min: 256 }),
  /** Counts tokens as the model does. */
  countTokens: custom<CountTokens>()('a function of a text', (value) => typeof value === 'function', {}),
  /** Steps of a search. Default 2. */
  depth: integer({ default: 2, min: 1 }),
  /** Default 100. */
  count: integer({ default: 100, min: 1 }),
  /** Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `graphWalks`. */
export type GraphWalksOptions = Given<typeof graphOptions>;

const HEX = [...'0123456789abcdef'];
const name = (random: Random): string => Array.from({ length: 10 }, () => random.pick(HEX)).join('');

/**
 * Walks in a directed graph whose edges fill the context, in the manner of OpenAI's GraphWalks (2025): breadth-first search to a depth, or
 * the parents of a node. The answer is the list behind `Final Answer:` on the last line; the score is F1 of the two sets of nodes.
 *
 * @throws OptionError; EvaluationError `TOO_SHORT`
 */
export function graphWalks(given: GraphWalksOptions): GenerateTask<GraphRow> {
  const { problem, length, countTokens, depth, count, seed } = graphOptions.read(given);
  const make = (size: number, index: number): GraphRow => {
    const random = createRandom(seed, 'graph', problem, index);
    const nodes = different(Math.max(4, Math.ceil(size / 2)), () => name(random));
    const edges = Array.from({ length: size }, () => [random.pick(nodes), random.pick(nodes)] as const);
    const starts = problem === 'bfs' ? edges.map(([from]) => from) : edges.map(([, to]) => to);
    const answerOf = (node: string) => (problem === 'bfs' ? bfsLayer(edges, node, depth) : parentsOf(edges, node));
    // A question without an answer has no F1. Where every start leads nowhere, the graph is too small for the depth, and stays as it is.
    const start = random.shuffled(starts).find((node) => answerOf(node).length > 0) ?? random.pick(starts);
    const answer = answerOf(start);
    const asked =
      problem === 'bfs'
        ? `Perform a breadth-first search from node ${start} to depth ${depth}. Return the nodes that are exactly ${depth} steps from it, and not nearer.`
        : `Find the parents of node ${start}: the nodes that have an edge to it.`;
    const prompt = `Below is a directed graph as a list of edges, one a line.\n\n${edges.map(([from, to]) => `${from} -> ${to}`).join('\n')}\n\n${asked}\nThe last line of your answer is "Final Answer: [node, node, …]", with an empty list where there is none.`;
    return { prompt, answer, edges, start, depth, tokens: countTokens(prompt) + 256 };
  };
  const dataset = Array.from({ length: count }, (_, index) =>
    make(
      fitSize('graphWalks', length, 4, (size) => make(size, index).tokens),
      index,
    ),
  );
  return {
    type: 'generate',
    name: `graph walks ${problem} ${length}`,
    dataset,
    prompt: ({ prompt }) => prompt,
    sampling: { temperature: 0, maxTokens: 256 },
    graders: [nodeF1],
    metrics: [meanScore()],
  };
}

/**
 * F1 of the nodes behind `Final Answer:` on the last line, quotes around them left out, as lm-evaluation-harness has it: 0 where either set is empty.
 */
export const nodeF1 = functionVerifier('nodeF1', ({ completion, row }) => {
  const { answer } = (row ?? {}) as Partial<GraphRow>;
  if (!Array.isArray(answer))
    throw new EvaluationError('BAD_ROW', 'nodeF1: the column "answer" must be a list of nodes.');
  const list = /Final Answer:\s*\[(.*)\]/.exec(completion.replace(/\n+$/, '').split('\n').at(-1)!)?.[1];
  const said = new Set(
    (list ?? '')
      .split(',')
      .filter((one) => strip(one) !== '')
      .map((one) => strip(one).replace(/^['"]+|['"]+$/g, '')),
  );
  const wanted = new Set<string>(answer);
  const both = [...said].filter((one) => wanted.has(one)).length;
  return both === 0 ? 0 : (2 * both) / (said.size + wanted.size);
});
