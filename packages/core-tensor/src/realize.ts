import type { TypedArray } from './dtype.js';
import { compileGraph } from './engines/compile-graph.js';
import { currentEngine } from './engines/current.js';
import type { Engine, EngineBuffer } from './engines/engine.js';
import { DonatedTensorError, DTypeError } from './errors.js';
import {
  type Graph,
  type GraphNode,
  isOp,
  makeNode,
  type Storage,
  topologicalOrder,
  type Value,
} from './graph/node.js';
import { sizeOf } from './shape.js';
import type { Tensor } from './tensor.js';

/** Captured leaves up to this many elements are written into the graph; larger ones are fed to it. */
const EMBEDDED_LEAF_SIZE = 64;

/** The bytes of a leaf on an engine, uploaded at most once. */
export async function bufferOf(storage: Storage, engine: Engine, where: string): Promise<EngineBuffer> {
  if (storage.consumed) throw new DonatedTensorError(where);
  if (storage.device?.engine === engine) return storage.device.buffer;
  const host = storage.host ?? (await storage.device!.engine.read(storage.device!.buffer));
  const buffer = await engine.upload(host, storage.spec);
  storage.device = { engine, buffer };
  // One copy is enough: the engine's buffer is now where the tensor lives.
  delete storage.host;
  return buffer;
}

/** A leaf over an engine's buffer. */
export function leafOf(engine: Engine, buffer: EngineBuffer): GraphNode<'data'> {
  return makeNode('data', [], { storage: { spec: buffer.spec, device: { engine, buffer } } });
}

let lastWork: Promise<unknown> = Promise.resolve();

/**
 * Runs `work` after everything that was asked for before it. Runs never overlap, so that a buffer that one run is
 * reading cannot be given away to another.
 */
export function inOrder<T>(work: () => Promise<T>): Promise<T> {
  const result = lastWork.then(work);
  const settled = () => undefined;
  lastWork = result.then(settled, settled);
  return result;
}

/** Runs what the tensors need, once and together, and turns each into a leaf. */
export async function realize(tensors: readonly Tensor[]): Promise<void> {
  const engine = currentEngine();
  return inOrder(() => realizeOn(engine, tensors));
}

/** `realize` for work that has its turn already. */
export async function realizeOn(engine: Engine, tensors: readonly Tensor[]): Promise<void> {
  const pending = tensors.filter((x) => !isOp(x.value.node, 'data'));
  if (pending.length === 0) return;
  const { graph, captured } = captureLeaves(
    pending.map((x) => x.value),
    [],
  );
  const executable = await compileGraph(engine, graph, { donations: [] });
  try {
    const inputs = await Promise.all(captured.map((storage) => bufferOf(storage, engine, 'reading a tensor')));
    const outputs = await executable.run(inputs);
    pending.forEach((x, i) => {
      x.value = { node: leafOf(engine, outputs[i]!), index: 0 };
    });
  } finally {
    await executable.dispose();
  }
}

/** The elements of a tensor on the host, running its graph if need be. */
export async function readHost(x: Tensor): Promise<TypedArray> {
  // A leaf can be read without any engine being set.
  const engine = isOp(x.value.node, 'data') ? undefined : currentEngine();
  return inOrder(async () => {
    if (engine) await realizeOn(engine, [x]);
    const { node } = x.value;
    if (!isOp(node, 'data')) throw new DTypeError('data', [x.dtype], 'the tensor was not realised');
    const { storage } = node.attributes;
    if (storage.consumed) throw new DonatedTensorError('reading a tensor');
    return storage.host ?? storage.device!.engine.read(storage.device!.buffer);
  });
}

export interface CapturedGraph {
  readonly graph: Graph;
  /** Storages of the leaves that became inputs, in the order of the inputs that follow the explicit ones. */
  readonly captured: readonly Storage[];
}

/** Whether a leaf is so small that graphs hold it as a constant. */
export const isSmallLeaf = (storage: Storage): boolean =>
  storage.host !== undefined && sizeOf(storage.spec.shape) <= EMBEDDED_LEAF_SIZE;

/**
 * The graph of `outputs` over the explicit placeholders `inputs`. Leaves with data of their own become further
 * inputs, so that a graph never holds weights; those that are embedded stay in the graph as constants.
 */
export function captureLeaves(
  outputs: readonly Value[],
  inputs: readonly GraphNode<'input'>[],
  isEmbedded: (storage: Storage) => boolean = isSmallLeaf,
): CapturedGraph {
  const placeholders = new Map<Storage, GraphNode<'input'>>();
  const replaced = new Map<GraphNode, GraphNode>();
  const nodes: GraphNode[] = [];
  for (const node of topologicalOrder(outputs)) {
    if (isOp(node, 'data') && !isEmbedded(node.attributes.storage)) {
      const { storage } = node.attributes;
      const placeholder = placeholders.get(storage) ?? makeNode('input', [], { spec: storage.spec });
      placeholders.set(storage, placeholder);
      replaced.set(node, placeholder);
    } else if (node.inputs.some((input) => replaced.has(input.node))) {
      const moved = makeNode(
        node.op,
        node.inputs.map((input) => moveTo(replaced, input)),
        node.attributes,
      );
      replaced.set(node, moved);
      nodes.push(moved);
    } else if (!isOp(node, 'input')) {
      nodes.push(node);
    }
  }
  const all = [...inputs, ...placeholders.values()];
  const graph = { inputs: all, outputs: outputs.map((value) => moveTo(replaced, value)), nodes: [...all, ...nodes] };
  return { graph, captured: [...placeholders.keys()] };
}

const moveTo = (replaced: ReadonlyMap<GraphNode, GraphNode>, { node, index }: Value): Value => ({
  node: replaced.get(node) ?? node,
  index,
});
