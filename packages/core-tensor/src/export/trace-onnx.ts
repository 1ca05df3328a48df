import type { DType } from '../dtype.js';
import { canUseGroupQueryAttention, kernelRules } from '../engines/onnxruntime/lower-kernels.js';
import { lowerGraph } from '../engines/onnxruntime/lowering.js';
import { inputName, onnxTypeOf, outputName } from '../engines/onnxruntime/onnx-values.js';
import { type OnnxGraph, type OnnxNode, type OnnxTensor, onnxTypes } from '../engines/onnxruntime/proto.js';
import { CompileError } from '../errors.js';
import { type Graph, type GraphKernel, isOp, makeNode, type Storage, type TensorSpec } from '../graph/node.js';
import { simplify } from '../graph/simplify.js';
import { captureLeaves, isSmallLeaf } from '../realize.js';
import { Tensor } from '../tensor.js';
import { leavesOf, withLeaves } from '../tree.js';

/**
 * `standard`: operators of ONNX itself only, which every runtime has. `contrib`: also the fused operators of ONNX
 * Runtime (rotary embedding, RMS norm, attention over a cache, products of transposed matrices), which only it has.
 */
export type OnnxOperators = (typeof ONNX_OPERATORS)[number];
export const ONNX_OPERATORS = ['standard', 'contrib'] as const;

/** An input or output of an exported model. */
export interface OnnxTensorInfo extends TensorSpec {
  readonly name: string;
}

/** A function to export, and how its arguments are called. */
export interface OnnxFunction<Args extends readonly unknown[]> {
  /** Any function that `compile` takes: pure, of trees of tensors. */
  readonly f: (...args: Args) => unknown;
  /** Only their structure, shapes and dtypes are read, so `zeros(shape, dtype)` will do; plain values are baked in. */
  readonly args: Readonly<Args>;
  /** One for each argument: what its tensors' names start with. `''` leaves the tree paths as they are. */
  readonly inputNames?: readonly string[];
}

/** An `OnnxFunction` of which it was checked already that `args` are arguments of `f`. */
export interface CheckedOnnxFunction {
  readonly f: (...args: never) => unknown;
  readonly args: readonly unknown[];
  readonly inputNames?: readonly string[];
}

/** A captured tensor, which becomes an initializer. */
export interface CapturedWeight {
  readonly name: string;
  readonly storage: Storage;
  /** Its place among the inputs of the traced graph. */
  readonly index: number;
}

/** A traced function as ONNX; the captured tensors are named in it but not held by it. */
export interface TracedOnnx {
  readonly graph: OnnxGraph;
  readonly weights: readonly CapturedWeight[];
  readonly inputs: readonly OnnxTensorInfo[];
  readonly outputs: readonly OnnxTensorInfo[];
}

/** The kernels whose lowering is an operator of ONNX itself. */
const STANDARD_KERNELS: ReadonlySet<string> = new Set(['softmax', 'logSoftmax', 'layerNorm', 'gelu']);

/** Traces a function and writes it as ONNX. `names` are those of captured tensors, which need not all have one. */
export function traceOnnx(
  where: string,
  { f, args, inputNames }: CheckedOnnxFunction,
  operators: OnnxOperators,
  names: ReadonlyMap<Storage, string>,
): TracedOnnx {
  const leaves = leavesOf(args);
  const placeholders = leaves.map(({ tensor }) => makeNode('input', [], { spec: tensor.spec }));
  const symbols = placeholders.map((node) => new Tensor({ node, index: 0 }));
  const traced = f(...(withLeaves(args, symbols) as never));
  if (traced instanceof Promise) throw new CompileError(`${where}: an exported function must not be async`);
  const results = leavesOf(traced);
  if (results.length === 0) throw new CompileError(`${where}: the function returned no tensor`);

  const { graph: whole, captured } = captureLeaves(
    results.map(({ tensor }) => tensor.value),
    placeholders,
    (storage) => !names.has(storage) && isSmallLeaf(storage),
  );
  const graph = withKernels(whole, operators);
  const { onnx, inputs: used } = lowerGraph(graph, { standard: operators === 'standard', mlas: false });
  if (operators === 'standard') assertStandard(where, onnx);

  const inputs = leaves.map(({ path, tensor }) => info(argumentName(where, path, args, inputNames), tensor.spec));
  const taken = new Set(inputs.map(({ name }) => name));
  const outputs = results.map(({ path, tensor }) => {
    const name = path === '' ? 'output' : path;
    // In ONNX an input and an output cannot share a name, as a state and its successor do here.
    return info(taken.has(name) ? `next.${name}` : name, tensor.spec);
  });
  const weights = captured.flatMap((storage, i) => {
    const index = leaves.length + i;
    return used.includes(index) ? [{ name: names.get(storage) ?? `captured${i}`, storage, index }] : [];
  });
  assertDistinct(
    where,
    [...inputs, ...outputs, ...weights].map(({ name }) => name),
  );
  return { graph: rename(onnx, inputs, outputs, weights), weights, inputs, outputs };
}

/** What a tensor is in the file: a bfloat16 input or output is float32 there, for want of operators. */
const info = (name: string, { shape, dtype }: TensorSpec): OnnxTensorInfo => ({
  name,
  shape,
  dtype: onnxTypeOf(dtype) as DType,
});

/** `0.w` becomes `state.w` when the first argument is called `state`, and `w` when it is called ''. */
function argumentName(
  where: string,
  path: string,
  args: readonly unknown[],
  inputNames: readonly string[] = args.map((_, i) => `input${i}`),
): string {
  if (inputNames.length !== args.length) {
    throw new CompileError(`${where}: inputNames has ${inputNames.length} names for ${args.length} arguments`);
  }
  const [argument, ...rest] = path.split('.');
  return [inputNames[Number(argument)]!, ...rest].filter((part) => part !== '').join('.');
}

function withKernels(graph: Graph, operators: OnnxOperators): Graph {
  if (operators === 'standard') return simplify(graph, { kernels: STANDARD_KERNELS });
  const isKnown = ({ name, lower }: GraphKernel) => name in kernelRules || lower?.onnxruntime !== undefined;
  const fused = simplify(graph, { kernels: isKnown });
  // Here the runtime may copy the caches, so that none has to be donated.
  const covered = fused.nodes.every(
    (node) =>
      !isOp(node, 'kernel') ||
      node.attributes.kernel.name !== 'cachedAttention' ||
      canUseGroupQueryAttention(node, () => true, { nativeFloat16: false, windowedAttention: false }),
  );
  return covered
    ? fused
    : simplify(graph, { kernels: (kernel) => kernel.name !== 'cachedAttention' && isKnown(kernel) });
}

function assertStandard(where: string, { nodes }: OnnxGraph): void {
  const foreign = nodes.find(({ domain }) => domain);
  if (foreign) throw new CompileError(`${where}: ${foreign.op} is no standard operator; use operators: 'contrib'`);
}

function assertDistinct(where: string, names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (name === '') throw new CompileError(`${where}: an input or output has no name; give every argument one`);
    if (seen.has(name)) {
      throw new CompileError(`${where}: two of its inputs, outputs and captured tensors are called "${name}"`);
    }
    seen.add(name);
  }
}

/** Gives inputs, outputs and captured tensors their names; what is in between must not have any of these. */
function rename(
  graph: OnnxGraph,
  inputs: readonly OnnxTensorInfo[],
  outputs: readonly OnnxTensorInfo[],
  weights: readonly CapturedWeight[],
): OnnxGraph {
  const own = new Set([...inputs, ...outputs, ...weights].map(({ name }) => name));
  const names = new Map<string, string>();
  const added: OnnxNode[] = [];
  const empty: Record<string, OnnxTensor> = {};
  for (const [i, { name }] of inputs.entries()) names.set(inputName(i), name);
  for (const [i, { name }] of outputs.entries()) names.set(outputName(i), name);
  for (const { name, storage, index } of weights) {
    const isWidened = storage.spec.dtype === 'bfloat16';
    names.set(inputName(index), isWidened ? `${name}/float32` : name);
    if (isWidened) {
      const to = { int: onnxTypes.float32 };
      added.push({
        op: 'Cast',
        name: `${name}/Cast`,
        inputs: [name],
        outputs: [`${name}/float32`],
        attributes: { to },
      });
    }
  }
  const nameOf = (value: string) => names.get(value) ?? (own.has(value) ? `inner/${value}` : value);
  const nodes = graph.nodes.map((node) => ({
    ...node,
    inputs: node.inputs.map(nameOf),
    outputs: node.outputs.map(nameOf),
  }));
  const written = new Set(nodes.flatMap((node) => node.outputs));
  for (const { name, shape, dtype } of outputs.filter((output) => !written.has(output.name))) {
    // Nothing computes a tensor without elements.
    const type = onnxTypeOf(dtype);
    empty[`${name}/empty`] = { type, shape, data: new Uint8Array(0) };
    added.push({ op: 'Identity', name: `${name}/Identity`, inputs: [`${name}/empty`], outputs: [name] });
  }
  const constants = Object.entries(graph.initializers ?? {}).map(([name, tensor]) => [nameOf(name), tensor] as const);
  const value = ({ name, shape, dtype }: OnnxTensorInfo) => ({ name, type: onnxTypeOf(dtype), shape });
  return {
    nodes: [...added, ...nodes],
    inputs: inputs.map(value),
    outputs: outputs.map(value),
    initializers: { ...Object.fromEntries(constants), ...empty },
  };
}
