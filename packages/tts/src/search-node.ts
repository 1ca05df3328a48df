import { type Completion, hashText } from '@posttrain/interfaces';
import type { TraceNode } from './trace.js';

export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** One completion that may become the answer. */
export interface Candidate {
  /** Prefix and completion. */
  readonly text: string;
  /** As the verifier or the extractor finds it; `null` when there is none. */
  readonly answer: string | null;
  /** Of the completion as sampled, when the generator knows them. */
  readonly tokenIds?: readonly number[];
  /** Its place in the trace: a strategy writes `reason` where it knows why it drops the candidate; `finish` the status. */
  readonly node: Mutable<TraceNode>;
}

/**
 * What may become of a node: `open` ended at a stop string of its step and can be continued (the root and merged nodes are
 * open); `ended` is the model's own end; `cut` ran into `maxTokens`.
 */
export type NodeState = 'open' | 'ended' | 'cut';

/** A text in a tree or graph of texts. Its `text` is the whole of it from the problem's prefix on. */
export interface SearchNode extends Candidate {
  /** A hash of its path from the root: the same in every run with the same seed, whatever ran beside it. */
  readonly key: string;
  /** Empty for the root; several for what was merged. */
  readonly parents: readonly SearchNode[];
  /** 0 for the root, else one more than the deepest parent's. */
  readonly depth: number;
  readonly state: NodeState;
  /** As the verifier gave it; `undefined`: not asked. */
  readonly score: number | null | undefined;
  /** As the generator gave it, with log-probabilities where they were asked for; the root and merged nodes have none. */
  readonly completion: Completion | undefined;
  /** Of a process verifier: scores of the steps of the whole text, in order. */
  readonly stepScores: readonly number[] | undefined;
  /** Whatever the strategy keeps here: visits and values, a thought's origin. Written to the trace, as JSON has it. */
  payload: unknown;
}

/** What a node is made of. */
export interface NodeParts {
  readonly key: string;
  readonly parents: readonly SearchNode[];
  readonly state: NodeState;
  readonly text: string;
  readonly completion?: Completion | undefined;
  readonly payload?: unknown;
  readonly node: Mutable<TraceNode>;
}

export function searchNode({ completion, payload, parents, ...parts }: NodeParts): SearchNode {
  const tokenIds = completion?.tokenIds;
  return {
    ...parts,
    completion,
    parents,
    depth: parents.reduce((depth, parent) => Math.max(depth, parent.depth + 1), 0),
    payload,
    ...(tokenIds && { tokenIds }),
    get answer() {
      return parts.node.answer;
    },
    get score() {
      return parts.node.score;
    },
    get stepScores() {
      return parts.node.stepScores;
    },
  };
}

/** The key of the place `index` below a node among the children that were asked for in the same way. */
export const childKey = (parent: string, way: string, index: number): string => hashText(`${parent}/${way}#${index}`);

/** The seed of child 0 of a node, asked for in this way; child i has the seed + i. Below 2^30, which every server takes. */
export const childSeed = (parent: string, way: string): number =>
  Number.parseInt(hashText(`${parent}/${way}`), 16) % 2 ** 30;

/** The state of a completion that was asked to end at `stops`, at the end of a step. */
export function stateOf({ finishReason, stop }: Completion, stops: readonly string[]): NodeState {
  if (finishReason !== 'stop') return 'cut';
  return typeof stop === 'string' && stops.includes(stop) ? 'open' : 'ended';
}

/** The node and all that it came from. */
export function ancestry(node: SearchNode): Set<SearchNode> {
  const found = new Set([node]);
  for (const it of found) for (const parent of it.parents) found.add(parent);
  return found;
}
