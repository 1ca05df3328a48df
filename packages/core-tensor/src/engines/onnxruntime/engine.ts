import { availableParallelism } from 'node:os';
import { assertKnownOptions } from '@posttrain/interfaces';
import type { DType, TypedArray } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import { type Graph, type GraphNode, isOp, specOf, type TensorSpec } from '../../graph/node.js';
import { simplify } from '../../graph/simplify.js';
import { sameShape, sizeOf } from '../../shape.js';
import type { CompileOptions, Donation, Engine, EngineBuffer, Executable } from '../engine.js';
import { OnnxBuffer, onnxBuffer } from './buffers.js';
import { findsSafeOverwrites } from './donation.js';
import { canUseGroupQueryAttention, kernelRules } from './lower-kernels.js';
import { inputName, type LoweredGraph, lowerGraph, outputName } from './lowering.js';
import { type OrtEnvironment, onnxruntimeEnvironment } from './native/environment.js';
import { type HeldSession, SessionCache } from './sessions.js';

export interface OnnxruntimeEngineOptions {
  /** Threads that one operation may use. Default: as many as the process may run on. */
  readonly threads?: number;
  /** Every compiled graph writes ONNX Runtime's profile to a file whose name begins with this, when it is disposed. */
  readonly profile?: string;
}

/**
 * Runs graphs on the CPU with ONNX Runtime (the library that the package `onnxruntime-node` carries, loaded on first use and
 * called through its C interface): each compiled graph is one ONNX model and one call, which does not block the event
 * loop. Device memory is host memory, so uploads and reads do not copy.
 */
export function onnxruntimeEngine(options: OnnxruntimeEngineOptions = {}): Engine {
  assertKnownOptions('onnxruntimeEngine', options, ['threads', 'profile']);
  const sessions = new SessionCache({ threads: availableParallelism(), ...options });
  const kernels = new Set(Object.keys(kernelRules));
  return {
    name: 'onnxruntime',
    device: 'cpu',
    kernels,
    nativeDTypes: new Set<DType>(['float32', 'int32', 'bool']),
    upload: (data: TypedArray, spec: TensorSpec) => OnnxBuffer.from(data, spec),
    read: async (buffer: EngineBuffer) => onnxBuffer(buffer).read(),
    async compile(given: Graph, { donations }: CompileOptions): Promise<Executable> {
      const graph = withoutUnusableKernels(given, donations, kernels);
      const lowered = lowerGraph(graph);
      const held = lowered.outputs.length > 0 ? await sessions.hold(lowered.onnx) : undefined;
      return new OnnxExecutable(graph, lowered, held, donations, await onnxruntimeEnvironment());
    },
  };
}

/** Expands the cached attentions that GroupQueryAttention does not cover. */
function withoutUnusableKernels(graph: Graph, donations: readonly Donation[], kernels: ReadonlySet<string>): Graph {
  const users = new Map<GraphNode, number>();
  for (const { node } of graph.nodes.flatMap((n) => n.inputs)) users.set(node, (users.get(node) ?? 0) + 1);
  const isDonated = (node: GraphNode<'kernel'>, input: number, output: number) => {
    const source = node.inputs[input]!.node;
    if (users.get(source) !== 1) return false;
    return donations.some(({ input: given, output: taken }) => {
      const result = graph.outputs[taken]!;
      return graph.inputs[given] === source && result.node === node && result.index === output;
    });
  };
  const isUnusable = (node: GraphNode) =>
    isOp(node, 'kernel') &&
    node.attributes.kernel.name === 'cachedAttention' &&
    !canUseGroupQueryAttention(node, isDonated);
  if (!graph.nodes.some(isUnusable)) return graph;
  return simplify(graph, { kernels: new Set([...kernels].filter((name) => name !== 'cachedAttention')) });
}

class OnnxExecutable implements Executable {
  /** Output index → how it takes over a donated input. */
  private readonly takeovers = new Map<number, { input: number; inPlace: boolean; spare?: OnnxBuffer }>();

  constructor(
    private readonly graph: Graph,
    private readonly lowered: LoweredGraph,
    private readonly held: HeldSession | undefined,
    donations: readonly Donation[],
    private readonly environment: OrtEnvironment,
  ) {
    const isSafe = findsSafeOverwrites(lowered.onnx);
    for (const { input, output } of donations) {
      this.takeovers.set(output, { input, inPlace: isSafe(inputName(input), outputName(output)) });
    }
  }

  async run(given: readonly EngineBuffer[]): Promise<EngineBuffer[]> {
    const inputs = given.map(onnxBuffer);
    checkInputs(this.graph, inputs);
    const takeovers = [...this.takeovers.values()].map((takeover) => {
      const buffer = inputs[takeover.input]!;
      const isUnique = inputs.every((other, i) => i === takeover.input || other.data !== buffer.data);
      return { takeover, buffer, mayOverwrite: buffer.exclusive && isUnique };
    });
    for (const { takeover, buffer, mayOverwrite } of takeovers) {
      if (takeover.inPlace && !mayOverwrite) inputs[takeover.input] = buffer.copy();
    }
    const outputs = this.graph.outputs.map((value, i) => this.outputBuffer(specOf(value), i, inputs));
    if (this.held) {
      const handle = (buffer: OnnxBuffer) => buffer.value(this.environment);
      await this.held.session.run(
        this.lowered.inputs.map((i) => handle(inputs[i]!)),
        this.lowered.outputs.map((i) => handle(outputs[i]!)),
      );
    }
    for (const { takeover, buffer, mayOverwrite } of takeovers) {
      // The memory given away holds the output of the next call.
      if (!takeover.inPlace && mayOverwrite) takeover.spare = buffer;
      else delete takeover.spare;
    }
    return outputs;
  }

  async dispose(): Promise<void> {
    this.takeovers.clear();
    await this.held?.release();
  }

  private outputBuffer(spec: TensorSpec, index: number, inputs: readonly OnnxBuffer[]): OnnxBuffer {
    const takeover = this.takeovers.get(index);
    if (takeover?.inPlace) return new OnnxBuffer(spec, inputs[takeover.input]!.data, true);
    if (takeover?.spare) return new OnnxBuffer(spec, takeover.spare.data, true);
    return OnnxBuffer.allocate(spec);
  }
}

function checkInputs(graph: Graph, inputs: readonly OnnxBuffer[]): void {
  const fits = graph.inputs.every((node, i) => {
    const buffer = inputs[i];
    const { shape, dtype } = node.outputs[0]!;
    return (
      buffer &&
      buffer.spec.dtype === dtype &&
      sameShape(buffer.spec.shape, shape) &&
      buffer.data.length === sizeOf(shape)
    );
  });
  if (inputs.length !== graph.inputs.length || !fits)
    throw new EngineError('onnxruntime', 'the buffers given to run do not match the inputs of the graph');
}
