import { assertKnownOptions } from '@posttrain/interfaces';
import { arrayType, type TypedArray } from './dtype.js';
import { compiling } from './engines/compile-clock.js';
import { compileGraph } from './engines/compile-graph.js';
import { currentEngine } from './engines/current.js';
import type { BufferHome, Engine, EngineBuffer } from './engines/engine.js';
import { DonatedTensorError, DTypeError } from './errors.js';
import {
  type Graph,
  type GraphNode,
  isOp,
  makeNode,
  type Storage,
  specOf,
  topologicalOrder,
  type Value,
} from './graph/node.js';
import { sizeOf } from './shape.js';

/** Constants: captured leaves up to this many elements are embedded in the graph; larger ones are inputs of it. */
const EMBEDDED_LEAF_SIZE = 64;

/**
 * Host residency: on a device with memory of its own, a tensor up to this size (bytes) that came from the host stays
 * there at its first use: most such tensors are a step's own, and their copy on the device goes when the step ends. What
 * is used again moves to the device. Results up to this size move to the host when they are read.
 */
const SMALL_BYTES = 2 ** 20;

const isSmallOnDevice = (engine: BufferHome, { spec }: Storage): boolean =>
  engine.free !== undefined && sizeOf(spec.shape) * arrayType(spec.dtype).BYTES_PER_ELEMENT <= SMALL_BYTES;

/** A lazy value: realisation replaces it by a leaf. */
export interface Pending {
  value: Value;
}

/** Buffers of leaves on an engine, in use until `release` is called. */
export interface UsedBuffers {
  readonly buffers: readonly EngineBuffer[];
  /** Frees temporary uploads after this use; donated buffers belong to the engine. */
  release(): void;
}

/** The bytes of leaves on an engine; uploads those that are elsewhere. */
export async function buffersOf(storages: readonly Storage[], engine: Engine, where: string): Promise<UsedBuffers> {
  const temporary = new Map<Storage, EngineBuffer>();
  const buffers: EngineBuffer[] = [];
  for (const storage of storages) {
    const { consumed, device } = storage;
    if (consumed) throw new DonatedTensorError(where, consumed);
    const present = device?.engine === engine ? device.buffer : temporary.get(storage);
    buffers.push(present ?? (await uploadLeaf(storage, engine, temporary)));
  }
  const release = () => {
    for (const [storage, buffer] of temporary) if (storage.consumed !== 'donated') engine.free!(buffer);
  };
  return { buffers, release };
}

async function uploadLeaf(
  storage: Storage,
  engine: Engine,
  temporary: Map<Storage, EngineBuffer>,
): Promise<EngineBuffer> {
  const { device } = storage;
  const host = storage.host ?? (await device!.engine.read(device!.buffer));
  const buffer = await engine.upload(host, storage.spec);
  if (device) device.engine.free?.(device.buffer);
  // One copy is enough: where the tensor lives.
  if (isSmallOnDevice(engine, storage) && !storage.wasUsed) {
    storage.wasUsed = true;
    storage.host = host;
    storage.device = undefined;
    temporary.set(storage, buffer);
  } else {
    storage.device = { engine, buffer };
    storage.host = undefined;
  }
  return buffer;
}

/** Frees the memory of a tensor, in queue order. */
export function disposeLeaf(x: Pending): Promise<void> {
  return inOrder(async () => {
    const { node } = x.value;
    if (!isOp(node, 'data')) return;
    const { storage } = node.attributes;
    if (storage.consumed) return;
    storage.device?.engine.free?.(storage.device.buffer);
    consume(storage, 'disposed');
  });
}

/** Marks a storage that must not be read again, and drops its bytes. */
export function consume(storage: Storage, how: 'donated' | 'disposed'): void {
  storage.consumed = how;
  storage.device = undefined;
  storage.host = undefined;
}

/** A leaf over an engine's buffer. */
export function leafOf(engine: Engine, buffer: EngineBuffer): GraphNode<'data'> {
  return makeNode('data', [], { storage: { spec: buffer.spec, device: { engine, buffer } } });
}

let lastWork: Promise<unknown> = Promise.resolve();

/**
 * Serial queue (FIFO): runs `work` after everything that was asked for before it. Runs never overlap, so that a buffer that
 * one run is reading cannot be donated to another.
 */
export function inOrder<T>(work: () => Promise<T>): Promise<T> {
  const result = lastWork.then(work);
  const settled = () => undefined;
  lastWork = result.then(settled, settled);
  return result;
}

/** Options of `realize`. */
export interface RealizeOptions {
  /**
   * What computes; `operands`: the engine in whose memory the operands are, where that is one. Default: the engine that is set
   * when `realize` is called.
   */
  readonly engine?: Engine | 'operands';
}

/** Runs what the tensors need, once and together, and turns each into a leaf. */
export async function realize(tensors: readonly Pending[], options: RealizeOptions = {}): Promise<void> {
  assertKnownOptions('realize', options, ['engine']);
  const { engine } = options;
  if (engine && engine !== 'operands') return inOrder(() => realizeOn(engine, tensors));
  const current = currentEngine();
  return inOrder(() => (engine ? realizeWhereTheyAre(tensors, current) : realizeOn(current, tensors)));
}

export const isRealized = ({ value }: Pending): boolean => isOp(value.node, 'data');

/** `realize` for work that has its turn already. */
export function realizeOn(engine: Engine, tensors: readonly Pending[]): Promise<void> {
  return realizeGraph(tensors, () => engine);
}

/**
 * Computes on the engine that holds the operands in its memory, so that two programs on two engines do not take each
 * other's; on `fallback` where none or several do.
 */
export const realizeWhereTheyAre = (tensors: readonly Pending[], fallback: Engine): Promise<void> =>
  realizeGraph(tensors, (operands) => {
    const homes = new Set(operands.flatMap(({ device }) => (device ? [device.engine] : [])));
    const [home] = homes;
    return home !== undefined && homes.size === 1 ? (home as Engine) : fallback;
  });

async function realizeGraph(
  tensors: readonly Pending[],
  choose: (operands: readonly Storage[]) => Engine,
): Promise<void> {
  const pending = tensors.filter((x) => !isRealized(x));
  if (pending.length === 0) return;
  const { graph, captured } = captureLeaves(
    pending.map((x) => x.value),
    [],
  );
  const engine = choose(captured);
  const executable = await compiling(() => compileGraph(engine, graph, { donations: [] }));
  try {
    const { buffers, release } = await buffersOf(captured, engine, 'reading a tensor');
    const outputs = await executable.run(buffers).finally(release);
    pending.forEach((x, i) => {
      x.value = { node: leafOf(engine, outputs[i]!), index: 0 };
    });
  } finally {
    await executable.dispose();
  }
}

/** The elements of a tensor on the host, running its graph if need be. */
export async function readHost(x: Pending): Promise<TypedArray> {
  // A leaf can be read without any engine being set.
  const engine = isOp(x.value.node, 'data') ? undefined : currentEngine();
  return inOrder(async () => {
    if (engine) await realizeOn(engine, [x]);
    const { node } = x.value;
    if (!isOp(node, 'data')) throw new DTypeError('data', [specOf(x.value).dtype], 'the tensor was not realised');
    const { storage } = node.attributes;
    if (storage.consumed) throw new DonatedTensorError('reading a tensor', storage.consumed);
    const { host } = storage;
    if (host) return host;
    const { engine: home, buffer } = storage.device!;
    const data = await home.read(buffer);
    if (isSmallOnDevice(home, storage)) {
      storage.host = data;
      storage.device = undefined;
      home.free!(buffer);
    }
    return data;
  });
}

export interface CapturedGraph {
  readonly graph: Graph;
  /** Storages of the leaves that became inputs, in the order of the inputs that follow the explicit ones. */
  readonly captured: readonly Storage[];
}

/** Whether a leaf is so small that graphs hold it as a constant. */
export const isSmallLeaf = (storage: Storage): boolean =>
  sizeOf(storage.spec.shape) <= EMBEDDED_LEAF_SIZE && !storage.consumed && storage.host !== undefined;

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
