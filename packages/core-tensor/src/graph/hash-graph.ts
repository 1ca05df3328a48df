import type { Hash } from 'node:crypto';
import { type Graph, type GraphKernel, type GraphNode, isOp } from './node.js';

/**
 * Writes all of a traced graph that decides what it computes, and in which order, into a hash: every node with its op, operands,
 * attributes and results, the bits of its constants, and in which order the nodes were made. Names of modules are left out. Two graphs
 * that write the same are the same to whatever reads no functions of theirs: so kernels must be `isKnown` by their names.
 *
 * @returns why it cannot be said: a kernel that is not known, or a constant that is not on the host; undefined where it could
 */
export function hashGraph(graph: Graph, isKnown: (kernel: GraphKernel) => boolean, hash: Hash): string | undefined {
  const { nodes, inputs, outputs } = graph;
  const places = new Map(nodes.map((node, place) => [node, place]));
  const placeOf = ({ node, index }: { readonly node: GraphNode; readonly index: number }) =>
    `${places.get(node)}.${index}`;
  // The order of ids decides the order of the outputs' nodes, not the ids themselves.
  const ranks = new Map([...nodes].sort((a, b) => a.id - b.id).map((node, rank) => [node, rank]));
  for (const node of nodes) {
    const found = attributesOf(node, isKnown);
    if ('problem' in found) return found.problem;
    const operands = node.inputs.map(placeOf).join();
    const results = node.outputs.map(({ dtype, shape }) => `${dtype}[${shape}]`).join();
    hash.update(`${ranks.get(node)} ${node.op} ${operands} ${results} ${found.text}\n`);
    if (found.bytes) hash.update(found.bytes);
  }
  hash.update(`${inputs.map((node) => places.get(node))};${outputs.map(placeOf)}\n`);
  return undefined;
}

type Attributes = { readonly text: string; readonly bytes?: Uint8Array } | { readonly problem: string };

function attributesOf(node: GraphNode, isKnown: (kernel: GraphKernel) => boolean): Attributes {
  if (isOp(node, 'data')) {
    const { host, consumed } = node.attributes.storage;
    if (!host || consumed) return { problem: 'a constant that is not on the host' };
    // Doubles of the reference engine and floats are other bits, so their kind is said too.
    const bytes = new Uint8Array(host.buffer, host.byteOffset, host.byteLength);
    return { text: `${host.constructor.name} ${host.byteLength}`, bytes };
  }
  if (isOp(node, 'kernel')) {
    const { kernel, config } = node.attributes;
    return isKnown(kernel)
      ? { text: `${exact(kernel.name)} ${exact(config)}` }
      : { problem: `the kernel ${kernel.name}, which is not of core-tensor` };
  }
  // Its backward function is for tracing, which is over.
  if (isOp(node, 'customVjp')) return { text: `${node.attributes.outputs}` };
  return { text: exact(node.attributes) };
}

/** A value as text, so that different values have different texts: JSON has no NaN, no infinities, no -0 and no undefined. */
function exact(value: unknown): string {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return `[${value.map(exact).join()}]`;
  return `{${Object.entries(value)
    .map(([key, item]) => `${JSON.stringify(key)}:${exact(item)}`)
    .join()}}`;
}
