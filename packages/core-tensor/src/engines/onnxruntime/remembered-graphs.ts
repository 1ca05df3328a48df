import { createHash } from 'node:crypto';
import { hashGraph } from '../../graph/hash-graph.js';
import type { Graph } from '../../graph/node.js';
import { isBuiltIn } from '../../kernels/built-in.js';
import type { RecallOptions } from '../engine.js';
import { codeFingerprint } from './code-fingerprint.js';
import { GraphCache, type StoredGraph } from './graph-cache.js';
import type { LoweringTarget } from './lowering.js';

/** Nodes of the smallest graph that is worth a file: writing it anew takes a millisecond. */
const FEWEST_NODES = 64;

/**
 * Traced graphs of which a file says how they are lowered. What is in the file is what this package's code makes of the graph, its donations
 * and its constant inputs for a target, and of nothing else: the key is a hash of these and of the code. Neither ONNX Runtime nor a kernel
 * has made any of it, so that another processor or another number of threads finds what it would have written itself, or another key.
 */
export class RememberedGraphs {
  readonly #cache: GraphCache;
  /** Keys of graphs that were asked for. */
  readonly #keys = new WeakMap<Graph, string>();

  constructor(folder: string) {
    this.#cache = new GraphCache(folder);
  }

  get use(): GraphCache['use'] {
    return this.#cache.use;
  }

  /** The lowered graph, where it is remembered. */
  async recall(traced: Graph, options: RecallOptions, target: LoweringTarget): Promise<StoredGraph | undefined> {
    const key = traced.nodes.length < FEWEST_NODES ? undefined : await this.#keyOf(traced, options, target);
    if (key === undefined) return undefined;
    this.#keys.set(traced, key);
    return this.#cache.read(key);
  }

  /** Remembers a graph that was asked for and not known. */
  async keep(traced: Graph | undefined, graph: StoredGraph): Promise<void> {
    const key = traced && this.#keys.get(traced);
    if (key !== undefined) await this.#cache.write(key, graph);
  }

  async #keyOf(
    traced: Graph,
    { donations, constants, kernels }: RecallOptions,
    { rules: _, kernels: lowered, ...target }: LoweringTarget,
  ): Promise<string | undefined> {
    const code = await codeFingerprint();
    if (code === undefined) return undefined;
    const hash = createHash('sha256').update(`${code}\n`);
    const known = [[...kernels].sort(), Object.keys(lowered).sort()];
    const given = donations.map(({ input, output }) => [input, output]);
    hash.update(`${JSON.stringify([target, known, given, [...(constants?.keys() ?? [])].sort((a, b) => a - b)])}\n`);
    if (hashGraph(traced, isBuiltIn, hash) === undefined) return hash.digest('hex');
    this.#cache.use.uncacheable++;
    return undefined;
  }
}
