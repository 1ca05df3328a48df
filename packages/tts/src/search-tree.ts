import { assertArgument, type Completion, type Prompt } from '@posttrain/interfaces';
import type { AnswerExtractor } from '@posttrain/interfaces/answers';
import { grownNode, type NewNode } from './grown-node.js';
import { failedBecause } from './judging.js';
import { ancestry, type Candidate, childKey, type Mutable, type SearchNode, searchNode } from './search-node.js';
import type { TraceNode } from './trace.js';

/** Completions that came back for places below a node. */
interface Growth {
  readonly parent: SearchNode;
  /** What the completions go on from. */
  readonly start: string;
  readonly keys: readonly string[];
  readonly stops: readonly string[];
  readonly completions: readonly (Completion | undefined)[];
  readonly failure?: { readonly cause: unknown };
  readonly role?: string | undefined;
  /** In the place of the problem's. */
  readonly prompt?: Prompt | undefined;
  /** Of the first. */
  readonly seed: number | undefined;
}

/** What the nodes of a search are made by. */
interface NodeSettings {
  /** The strategy, for errors. */
  readonly where: string;
  readonly extract: AnswerExtractor;
  /** Whether the search goes on without what has failed so. */
  readonly drops: (cause: unknown) => boolean;
}

/** The nodes of one search in the order in which they were added, which is that of their ids, and the places below them. */
export class SearchTree {
  readonly nodes: SearchNode[] = [];
  readonly #children = new Map<string, number>();
  readonly #settings: NodeSettings;

  constructor(settings: NodeSettings) {
    this.#settings = settings;
  }

  add({ answer = null, node, ...parts }: NewNode): SearchNode {
    const parents = parts.parents.map((parent) => parent.node.id);
    const traced: Mutable<TraceNode> = {
      id: this.nodes.length,
      parent: parents[0] ?? null,
      ...(parents.length > 1 ? { parents } : {}),
      ...{ text: '', finishReason: null, promptTokens: 0, completionTokens: 0, answer, status: 'dropped' },
      ...node,
    };
    const added = searchNode({ ...parts, node: traced });
    this.nodes.push(added);
    return added;
  }

  /** How many places of this way below a node were taken. */
  taken(place: string): number {
    return this.#children.get(place) ?? 0;
  }

  take(place: string, n: number): void {
    this.#children.set(place, this.taken(place) + n);
  }

  /** Keys of `n` places from the `first` on. */
  places(parent: string, way: string, first: number, n: number): string[] {
    return Array.from({ length: n }, (_, i) => childKey(parent, way, first + i));
  }

  /** Nodes of what came back; throws what the rest has failed with. What was aborted is in the trace only, as are the others then. */
  grow(grown: Growth): SearchNode[] {
    const { parent, keys, completions, failure, seed: first } = grown;
    const { drops, extract } = this.#settings;
    const reason = failure && drops(failure.cause) ? failedBecause(failure.cause) : undefined;
    const nodes = completions.flatMap((completion, i) => {
      const key = keys[i]!;
      if (completion) {
        const seed = first === undefined ? undefined : first + i;
        const node = this.add(grownNode({ ...grown, key, seed, completion, extract }));
        return completion.finishReason === 'abort' ? [] : [node];
      }
      if (reason !== undefined) {
        const node = { finishReason: 'abort', reason } as const;
        this.add({ key, parents: [parent], state: 'cut', text: parent.text, node });
      }
      return [];
    });
    if (failure && reason === undefined) throw failure.cause;
    return nodes;
  }

  /** A node of several, whose children go on from `text`. */
  merge(nodes: readonly SearchNode[], payload: unknown, text: string): SearchNode {
    const isList = Array.isArray(nodes) && nodes.length > 0;
    assertArgument(`${this.#settings.where}: merge`, 'nodes', nodes, isList, 'a list of at least one node');
    const place = `merge ${nodes.map(({ key }) => key).join(' ')}`;
    const key = childKey(place, '', this.taken(place));
    this.take(place, 1);
    const traced = text === this.nodes[0]!.text ? {} : { node: { text } };
    return this.add({ key, parents: [...nodes], text, state: 'open', payload, ...traced });
  }

  /** Says of every candidate what became of it, and why it was dropped where nothing is said of that yet. */
  mark(
    chosen: Candidate,
    support: readonly Candidate[],
    candidates: readonly Candidate[],
    { reason, isOfSamples }: { readonly reason: string; readonly isOfSamples: boolean },
  ): void {
    const kept = new Set<Candidate>(isOfSamples ? support : [...ancestry(chosen as SearchNode), ...support]);
    for (const candidate of candidates) {
      const { node } = candidate;
      node.status = candidate === chosen ? 'chosen' : kept.has(candidate) ? 'kept' : 'dropped';
      if (node.status === 'dropped') node.reason ??= reason;
      else if (!isOfSamples) delete node.reason;
    }
  }
}
