import type { DType } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import { type Graph, type GraphNode, isOp, type OpName, specOf, type Value } from '../../graph/node.js';
import { broadcastShapes, sameShape, sizeOf } from '../../shape.js';
import { type Chain, chainsOf, lowerChain } from './chains.js';
import { OnnxGraphBuilder } from './graph-builder.js';
import { castSteps, elementwiseRules } from './lower-elementwise.js';
import { indexingRules, lowerScatteredSum } from './lower-indexing.js';
import { type KernelRule, kernelRule, kernelRules } from './lower-kernels.js';
import { movementRules } from './lower-movement.js';
import { productOf, productRules } from './lower-products.js';
import { randomBits } from './lower-random.js';
import { matmulFusions } from './matmul-fusions.js';
import { inputName, onnxTypeOf, outputName } from './onnx-values.js';
import { attentionRules } from './own-attention.js';
import type { ProductKernels } from './own-products.js';
import { codedProduct, multipliesCodes, unpackedWeights, unpackingRules } from './own-quantized.js';
import { type OnnxGraph, onnxTypes } from './proto.js';
import { residualNorms, rotatedQueries } from './row-fusions.js';
import { isRead } from './uses.js';

/** Emits the ONNX nodes of one node; returns the names of its outputs. Operands are never empty, nor are outputs. */
export type LoweringRule<Name extends OpName> = (node: GraphNode<Name>, lowering: Lowering) => readonly string[];
export type LoweringRules = { readonly [Name in OpName]: LoweringRule<Name> };

/** Primitives that `simplify` removes before an engine sees the graph. */
type Removed = 'input' | 'stopGradient' | 'customVjp';

const rules: Omit<LoweringRules, Removed> = {
  ...elementwiseRules,
  ...movementRules,
  ...productRules,
  ...indexingRules,
  add: (node, lowering) => lowerScatteredSum(node, lowering) ?? elementwiseRules.add(node, lowering),
  randomBits,
  kernel: (node, lowering) => kernelRule(node, lowering.target.kernels)(node, lowering),
};

/** A lowering target: what a graph is written for. */
export interface LoweringTarget {
  /** Products keep to the operators of ONNX itself; which kernels are left in the graph decides about the rest. */
  readonly standard: boolean;
  /** Whether float16 is computed with as it is, or widened to float32 and rounded after each operation. */
  readonly nativeFloat16: boolean;
  /** Whether GroupQueryAttention heeds its window (WebGPU's does not). */
  readonly windowedAttention: boolean;
  /** Whether MLAS computes, ONNX Runtime's own library for CPUs: its habits decide how one row is best multiplied. */
  readonly mlas: boolean;
  /** Kernels of our own that multiply; undefined where ONNX Runtime does. */
  readonly products?: ProductKernels;
  /** Whether elementwise operations that meet are one node of a kernel of our own. */
  readonly chains: boolean;
  /** Rules in place of the common ones. */
  readonly rules: Partial<LoweringRules>;
  /** Fused kernels there are nodes for, by name. */
  readonly kernels: Readonly<Record<string, KernelRule>>;
}

/** ONNX Runtime's CPU provider, whose kernels know float32 and int32, and its contrib operators. */
export const CPU_TARGET: LoweringTarget = {
  standard: false,
  nativeFloat16: false,
  windowedAttention: true,
  mlas: true,
  chains: false,
  rules: {},
  kernels: { ...kernelRules, ...unpackingRules, ...attentionRules },
};

/** Lazy lowering: emitted only when another node asks for them, as they are often fused into their users. */
const LAZY: ReadonlySet<OpName> = new Set(['data', 'full', 'iota', 'broadcastTo', 'transpose']);

export interface LoweredGraph {
  readonly onnx: OnnxGraph;
  /** Indices of the graph inputs that the ONNX graph declares; the others are empty or unused. */
  readonly inputs: readonly number[];
  /** Indices of the graph outputs that the ONNX graph computes; the others are empty. */
  readonly outputs: readonly number[];
  /** Names of the nodes that read or write float16. */
  readonly float16Nodes: readonly string[];
}

/** Writes a simplified graph as ONNX: inputs `input0…`, outputs `output0…`; `constants` are inputs that are initializers. */
export function lowerGraph(
  graph: Graph,
  target: Partial<LoweringTarget> = {},
  constants: ReadonlySet<number> = new Set(),
): LoweredGraph {
  return new Lowering(graph, { ...CPU_TARGET, ...target }, constants).run();
}

/** The state of one lowering, and what rules need of it. */
export class Lowering {
  readonly builder: OnnxGraphBuilder;
  /** Nodes that are emitted by the one that reads them. */
  readonly fused: ReadonlySet<GraphNode>;
  /** Normalisations that are computed with the sum that they are of, by the sum. */
  readonly residualNorms: ReadonlyMap<GraphNode, GraphNode<'kernel'>>;
  /** Operations that are computed in one pass, by each of them. */
  readonly #chains: ReadonlyMap<GraphNode, Chain>;
  readonly #names = new Map<GraphNode, readonly string[]>();
  readonly #float16Nodes = new Set<string>();
  readonly #constantNodes = new Set<GraphNode>();
  readonly #graph: Graph;
  readonly #outputNodes: ReadonlySet<GraphNode>;
  /** Inputs that are initializers, in memory that the session is given. */
  readonly #constants: ReadonlySet<number>;

  constructor(
    graph: Graph,
    readonly target: LoweringTarget,
    constants: ReadonlySet<number>,
  ) {
    this.#graph = graph;
    this.#outputNodes = new Set(graph.outputs.map(({ node }) => node));
    this.#constants = constants;
    this.builder = new OnnxGraphBuilder(target.standard);
    const ownCodes = multipliesCodes(target);
    const isCoded = (node: GraphNode) =>
      ownCodes && isOp(node, 'matmul') && codedProduct(node, productOf(node)) !== undefined;
    this.fused = new Set([
      ...matmulFusions(graph, isCoded),
      ...(target.mlas ? rotatedQueries(graph) : []),
      ...(ownCodes ? unpackedWeights(graph.nodes) : []),
    ]);
    this.residualNorms = target.mlas ? residualNorms(graph, this.fused) : new Map();
    const isTaken = (node: GraphNode) =>
      this.fused.has(node) || this.residualNorms.has(node) || node.inputs.some((input) => this.fused.has(input.node));
    this.#chains = target.chains ? chainsOf(graph, isTaken) : new Map();
  }

  run(): LoweredGraph {
    const { builder } = this;
    const graph = this.#graph;
    const used = new Set([...graph.nodes.flatMap((n) => n.inputs), ...graph.outputs].map((value) => value.node));
    const inputs: number[] = [];
    for (const [i, node] of graph.inputs.entries()) {
      const { shape, dtype } = node.outputs[0]!;
      if (!used.has(node) || sizeOf(shape) === 0) continue;
      const type = onnxTypeOf(dtype);
      if (this.#constants.has(i)) {
        this.#names.set(node, [builder.givenConstant(inputName(i), type, shape)]);
        this.#constantNodes.add(node);
        continue;
      }
      this.#names.set(node, [builder.input(inputName(i), type, shape)]);
      inputs.push(i);
    }
    for (const node of graph.nodes) {
      const isEmpty = node.outputs.every(({ shape }) => sizeOf(shape) === 0);
      if (isEmpty || LAZY.has(node.op) || this.fused.has(node) || isOp(node, 'input') || this.#names.has(node))
        continue;
      // A chain runs when all that its last member needs is there.
      if ((this.#chains.get(node)?.members.at(-1) ?? node) === node) this.#emit(node);
    }
    const outputs: number[] = [];
    for (const [i, value] of graph.outputs.entries()) {
      const { shape, dtype } = specOf(value);
      if (sizeOf(shape) === 0) continue;
      builder.output(this.name(value), outputName(i), onnxTypeOf(dtype), shape);
      outputs.push(i);
    }
    return { onnx: builder.graph(), inputs, outputs, float16Nodes: [...this.#float16Nodes] };
  }

  /** Whether a value is an initializer, which products with it on the right have packed once and for all. */
  isConstant(value: Value): boolean {
    return this.#constantNodes.has(value.node);
  }

  /** The name of a value, emitting it first if it was left for later. */
  name(value: Value): string {
    return (this.#names.get(value.node) ?? this.#emit(value.node))[value.index]!;
  }

  #emit(node: GraphNode): readonly string[] {
    const chain = this.#chains.get(node);
    if (chain) {
      lowerChain(chain, this);
      return this.#names.get(node) ?? [];
    }
    const before = this.builder.size;
    const names = this.#withoutEmptyOperands(node) ?? this.#rule(node.op)(node, this);
    this.computed(node, names);
    if ([...node.inputs.map(specOf), ...node.outputs].some(({ dtype }) => dtype === 'float16')) {
      for (const name of this.builder.nodeNames(before)) this.#float16Nodes.add(name);
    }
    return names;
  }

  /** Says under which names the outputs of a node are. */
  computed(node: GraphNode, names: readonly string[]): void {
    for (const [i, name] of names.entries()) this.builder.shaped(name, node.outputs[i]!.shape);
    this.#names.set(node, names);
  }

  #rule(op: OpName): LoweringRule<OpName> {
    const rule = (this.target.rules[op] ?? (rules as Partial<LoweringRules>)[op]) as LoweringRule<OpName> | undefined;
    if (!rule) throw new EngineError('onnxruntime', `no lowering of ${op}; simplify the graph first`);
    return rule;
  }

  /** A full output of empty operands is a sum or a product over nothing, a copy, or padding. */
  #withoutEmptyOperands(node: GraphNode): readonly string[] | undefined {
    if (isOp(node, 'concat') || isOp(node, 'barrier') || node.inputs.every((input) => sizeOf(specOf(input).shape) > 0))
      return undefined;
    // Only who wrote an operation knows what it gives for nothing.
    if (isOp(node, 'kernel') && node.attributes.kernel.lower) return undefined;
    const isWrite = isOp(node, 'kernel') && node.attributes.kernel.name === 'putRows';
    if (isWrite || isOp(node, 'putAlongAxis')) return [this.name(node.inputs[0]!)];
    const { shape, dtype } = node.outputs[0]!;
    const value = isOp(node, 'pad') ? node.attributes.value : 0;
    const filled = { ...node, op: 'full', inputs: [], attributes: { shape, dtype, value } } as GraphNode<'full'>;
    return movementRules.full(filled, this);
  }

  /** Whether a node computes an output of the graph. */
  isOutput(node: GraphNode): boolean {
    return this.#outputNodes.has(node);
  }

  /** Whether anything reads an output of a node. */
  isUsed(node: GraphNode, index: number): boolean {
    return isRead(this.#graph, node, index);
  }

  /**
   * The type an op computes in: the kernels know float32 and int32, those of a GPU float16 too. Small integers wrap
   * when they are cast back; float16 results are rounded by the cast.
   */
  computeDType(dtype: DType): DType {
    if (dtype === 'float16') return this.target.nativeFloat16 ? 'float16' : 'float32';
    if (dtype === 'bfloat16') return 'float32';
    return dtype === 'int8' || dtype === 'uint8' ? 'int32' : dtype;
  }

  /** The type that many terms are added up in: float16 would lose most of them. */
  accumulationDType(dtype: DType): DType {
    const compute = this.computeDType(dtype);
    return compute === 'float16' ? 'float32' : compute;
  }

  /** A value converted to another dtype. */
  convert(name: string, from: DType, to: DType): string {
    return castSteps(from, to).reduce((value, step) => this.builder.cast(value, step), name);
  }

  /** A value in the dtype an op computes in. */
  nameAs(value: Value, dtype: DType): string {
    return this.convert(this.name(value), specOf(value).dtype, dtype);
  }

  nameAsInt32(value: string): string {
    return this.builder.cast(value, onnxTypes.int32);
  }

  /**
   * Operands of a broadcasting ONNX op, each converted to its dtype. Broadcasts and fills are left to the op itself,
   * as long as the operands together still have the shape of the result.
   */
  broadcastOperands(values: readonly Value[], shape: readonly number[], dtypes: readonly DType[]): string[] {
    const sources = values.map(sourceOfBroadcast);
    const shapes = sources.filter(({ node }) => !isOp(node, 'full')).map((source) => specOf(source).shape);
    const fits = sameShape(broadcastShapes('broadcast', ...shapes), shape);
    return values.map((value, i) => {
      const source = fits ? sources[i]! : value;
      if (fits && isOp(source.node, 'full')) return this.#scalar(source.node, dtypes[i]!);
      return this.nameAs(source, dtypes[i]!);
    });
  }

  #scalar(node: GraphNode<'full'>, dtype: DType): string {
    const { value, dtype: from } = node.attributes;
    const name = this.builder.constant(onnxTypeOf(from), [], [value]);
    return this.convert(name, from, dtype);
  }
}

/** What a value is a broadcast of; itself if it is none. */
function sourceOfBroadcast(value: Value): Value {
  let source = value;
  while (isOp(source.node, 'broadcastTo')) source = source.node.inputs[0]!;
  return source;
}
