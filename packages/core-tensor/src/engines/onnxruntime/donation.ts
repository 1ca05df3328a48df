import { ELEMENTWISE_ONNX_OPS } from './elementwise-ops.js';
import type { OnnxGraph, OnnxNode } from './proto.js';

/** Aliases: ops whose result is a view of their first input, so that a reader of the result reads the input. */
const VIEWS: ReadonlySet<string> = new Set(['Reshape', 'Identity']);

/** In-place rules: which operands a node may overwrite. */
export interface OverwriteRules {
  /** Whether ops that work element by element may write over an operand of the shape of the result. */
  readonly elementwise: boolean;
  /** Op → index of an output → index of the operand whose memory it may share. */
  readonly operands: Readonly<Record<string, Readonly<Record<number, number>>>>;
}

const GROUP_QUERY_ATTENTION = { 1: 3, 2: 4 };

/** In-place kernels on the host. */
export const ON_HOST: OverwriteRules = {
  elementwise: true,
  operands: {
    ScatterElements: { 0: 0 },
    ScatterND: { 0: 0 },
    // Copies its third operand to where the result goes before it adds the product; engine tests run it in place.
    Gemm: { 0: 2 },
    // Reads each tile of the addend before it writes there.
    Product: { 0: 2 },
    GroupQueryAttention: GROUP_QUERY_ATTENTION,
  },
};

/** WebGPU refuses a buffer that a kernel reads under one binding and writes under another; this one kernel binds it once. */
export const ON_WEBGPU: OverwriteRules = {
  elementwise: false,
  operands: { GroupQueryAttention: GROUP_QUERY_ATTENTION },
};

/**
 * In-place analysis for donation: which outputs can overwrite an input. That is safe where every node that reads the
 * input, or a view of it, must have run before the node that writes the output (the writer depends on it), and the writer
 * itself reads the input at most element by element. Holds for a session whose optimisations are off, which runs these
 * very nodes.
 */
export function findsSafeOverwrites(
  graph: OnnxGraph,
  rules: OverwriteRules = ON_HOST,
): (input: string, output: string) => boolean {
  const producers = new Map<string, OnnxNode>();
  const readers = new Map<string, OnnxNode[]>();
  for (const node of graph.nodes) {
    // What an operator is not given, or does not give, is called ''.
    for (const output of node.outputs) if (output) producers.set(output, node);
    for (const name of new Set(node.inputs)) if (name) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  const shapes = new Map([...graph.inputs, ...graph.outputs].map(({ name, shape }) => [name, shape?.join() ?? '']));

  return (input, output) => {
    const writer = producers.get(output);
    if (!writer) return false;
    // Copying the input onto itself changes nothing for its other readers.
    if (writer.op === 'Identity' && writer.inputs[0] === input) return true;
    const others = new Set(readers.get(input));
    const names = new Set([input]);
    for (const node of others) {
      // A view is itself harmless, but everything that reads it counts. Sets visit what is added on the way.
      if (!VIEWS.has(node.op)) continue;
      names.add(node.outputs[0]!);
      for (const reader of readers.get(node.outputs[0]!) ?? []) others.add(reader);
    }
    const isInPlace = () =>
      writer.op === 'Chain'
        ? readsInStep(writer, names, shapes.get(output) ?? '')
        : overwritesInPlace(writer, input, output, shapes, rules);
    if (others.has(writer) && !isInPlace()) return false;
    others.delete(writer);
    return others.size === 0 || dependsOnAll(writer, others, producers);
  };
}

/**
 * Whether a chain reads some memory, by any of its names, only piece by piece as it writes a result of that shape: as operands of the
 * whole shape, or, for a number a row, as such.
 */
function readsInStep({ inputs, attributes }: OnnxNode, names: ReadonlySet<string>, shape: string): boolean {
  const { spreads, dims } = attributes ?? {};
  if (!spreads || !dims || !('ints' in spreads) || !('ints' in dims)) return false;
  const [full, row] = [0, 1];
  const size = shape.split(',').reduce((product, axis) => product * Number(axis), 1);
  const spread = size === dims.ints.reduce((product: number, axis) => product * Number(axis), 1) ? full : row;
  return inputs.every((name, i) => !names.has(name) || spreads.ints[i] === spread);
}

/** Whether `writer` may read `input` and write `output` in the same memory. */
function overwritesInPlace(
  writer: OnnxNode,
  input: string,
  output: string,
  shapes: ReadonlyMap<string, string>,
  rules: OverwriteRules,
): boolean {
  if (!writer.inputs.includes(input)) return false;
  // A chain writes a piece when it has read it; only what is as large as the result is read piece by piece.
  if (ELEMENTWISE_ONNX_OPS.has(writer.op) || writer.op === 'Chain')
    return rules.elementwise && shapes.get(input) === shapes.get(output);
  const operand = rules.operands[writer.op]?.[writer.outputs.indexOf(output)];
  return operand !== undefined && writer.inputs.every((name, i) => (name === input) === (i === operand));
}

function dependsOnAll(
  writer: OnnxNode,
  targets: ReadonlySet<OnnxNode>,
  producers: ReadonlyMap<string, OnnxNode>,
): boolean {
  const missing = new Set(targets);
  const seen = new Set<OnnxNode>([writer]);
  for (const node of seen) {
    if (missing.delete(node) && missing.size === 0) return true;
    for (const name of node.inputs) {
      const producer = producers.get(name);
      if (producer) seen.add(producer);
    }
  }
  return false;
}
