import { availableParallelism } from 'node:os';
import { boolean, custom, type Given, integer, oneOf, options, text } from '@posttrain/interfaces';
import type { DType, TypedArray } from '../../dtype.js';
import { EngineError } from '../../errors.js';
import { type Graph, type GraphNode, isOp, sameSpec, specOf, type TensorSpec } from '../../graph/node.js';
import { simplify } from '../../graph/simplify.js';
import { sizeOf } from '../../shape.js';
import type { CompileOptions, Donation, Engine, EngineBuffer, Executable, RecallOptions } from '../engine.js';
import { HostMemory } from './buffers.js';
import type { DeviceMemory, DeviceMemoryUse } from './device-memory.js';
import { findsSafeOverwrites, ON_HOST, ON_WEBGPU } from './donation.js';
import type { GraphCacheUse, StoredGraph } from './graph-cache.js';
import { type GraphCacheChoice, graphCacheFolder } from './graph-cache-folder.js';
import { canUseGroupQueryAttention } from './lower-kernels.js';
import { webgpuTarget } from './lower-webgpu.js';
import { CPU_TARGET, type LoweredGraph, type LoweringTarget, lowerGraph } from './lowering.js';
import { type Memory, type OnnxBuffer, onnxBuffer } from './memory.js';
import { onnxruntimeEnvironment } from './native/environment.js';
import { ARITHMETICS, type Arithmetic, loadKernels, type NativeKernels } from './native/kernels.js';
import type { NodeAssignment, Provider } from './native/session.js';
import { inputName, outputName } from './onnx-values.js';
import { attendsOwn, OWN_ATTENTION } from './own-attention.js';
import { MATMUL_PRECISIONS, productKernels } from './own-products.js';
import { multipliesCodes, OWN_KERNELS } from './own-quantized.js';
import { packedOf } from './packed-weights.js';
import { encodeModel, KERNEL_DOMAIN } from './proto.js';
import { ONNXRUNTIME_DEVICES, type OnnxruntimeDevice, providerOf, startDevice } from './providers.js';
import { RememberedGraphs } from './remembered-graphs.js';
import { type HeldSession, SessionCache } from './sessions.js';
import { isRead } from './uses.js';

const engineOptions = options('onnxruntimeEngine', {
  /**
   * `cpu`; `webgpu` (any GPU with a Vulkan, Metal or Direct3D 12 driver); `cuda` (NVIDIA, where ONNX Runtime's CUDA
   * provider is installed). A device is started when it is first used. Default `cpu`.
   */
  device: oneOf(ONNXRUNTIME_DEVICES, { default: 'cpu' }),
  /** Threads that one operation may use on the CPU. Default: as many as the process may run on. */
  threads: integer({ optional: true, min: 1 }),
  /**
   * How precisely float32 matrices are multiplied on the CPU, by PyTorch's names. `highest` and `high`: in float32. `medium`: the
   * factors of products with a matrix of two axes (weights and their gradients; not attention's) are rounded to bfloat16 and added up
   * in float32, where the kernels are there and the processor multiplies bfloat16 faster (AMX; AVX-512 with bfloat16 on AMD); in
   * float32 elsewhere. It decides a run where it changes numbers. Default `highest`.
   */
  matmulPrecision: oneOf(MATMUL_PRECISIONS, { default: 'highest' }),
  /**
   * Kernels of our own for the CPU. `auto`: where they are installed or built, in the fastest arithmetic that the processor has;
   * `off`: ONNX Runtime's only; another name: that arithmetic, for tests and comparisons. Default `auto`.
   */
  cpuKernels: oneOf(['auto', 'off', ...ARITHMETICS], { default: 'auto' }),
  /**
   * Elementwise operations that meet, with sums and maxima of their rows, as one pass over their operands by kernels of our own, where
   * they are there. Their e^x and sums of rows round otherwise than ONNX Runtime's. Default false; arithmetics by name have them.
   */
  elementwiseChains: boolean({ default: false }),
  /**
   * Keeps lowered graphs on the CPU in files, so that another process that traces the same ones need not simplify and lower them again: a
   * folder, `true` for `posttrain/graphs` in the user's folder for caches, or `false`. Default: what the variable POSTTRAIN_CACHE says,
   * a folder, `on` or `off`; `off`.
   */
  graphCache: custom<GraphCacheChoice>()(
    'true, false or a folder',
    (value) => typeof value === 'boolean' || (typeof value === 'string' && value !== ''),
    { optional: true },
  ),
  /** Every compiled graph writes ONNX Runtime's profile to a file whose name begins with this, when it is disposed. */
  profile: text({ optional: true }),
  /**
   * Called with which provider runs which node of every graph that is compiled: a node on another provider than the
   * device's is right but slow.
   */
  onAssignment: custom<(nodes: readonly NodeAssignment[]) => void>()('a function', (f) => typeof f === 'function', {
    optional: true,
  }),
});
/** Options of `onnxruntimeEngine`. */
export type OnnxruntimeEngineOptions = Given<typeof engineOptions>;

/** The engine over ONNX Runtime. */
export interface OnnxruntimeEngine extends Engine {
  readonly device: OnnxruntimeDevice;
  /** Starts the device now; a rejected promise says what is wrong and what to do. */
  start(): Promise<void>;
  /** What is alive in the device's memory. Zeros on the CPU, whose memory is the host's. */
  memoryUse(): DeviceMemoryUse;
  /** What has become of the graphs that were asked of `graphCache`, so far. Zeros without one. */
  graphCacheUse(): GraphCacheUse;
}

interface Runtime {
  readonly memory: Memory;
  readonly target: LoweringTarget;
  /** The provider of a session for a graph. */
  providerFor(lowered: LoweredGraph): Provider | undefined;
}

/**
 * Runs graphs with ONNX Runtime (the library of the package `@posttrain/onnxruntime-PLATFORM`, loaded on first use and
 * called through its C interface): each compiled graph is one ONNX model and one call, on another thread when it takes longer than
 * a frame of 16 ms, so that it does not block the event loop.
 *
 * On the CPU, device memory is host memory, so uploads and reads do not copy. On a GPU, tensors stay in its memory from
 * call to call, and what is dropped is given back.
 */
export function onnxruntimeEngine(options: OnnxruntimeEngineOptions = {}): OnnxruntimeEngine {
  return engineOf(options, CPU_TARGET);
}

/** Cross-lowering, for tests: runs on the CPU graphs that are lowered for a GPU which is not there. */
export function engineOf(given: OnnxruntimeEngineOptions, cpuTarget: LoweringTarget): OnnxruntimeEngine {
  const options = engineOptions.read(given);
  const { device, threads = availableParallelism(), profile, onAssignment } = options;
  const sessions = new SessionCache({
    threads,
    recordAssignment: onAssignment !== undefined,
    ...(profile === undefined ? {} : { profile }),
  });
  // What a graph is written for does not depend on float16 but for the products of that type.
  const kernels = new Set(Object.keys(device === 'webgpu' ? webgpuTarget(true).kernels : cpuTarget.kernels));
  let deviceMemory: DeviceMemory | undefined;
  let runtime: Promise<Runtime> | undefined;
  const start = async (): Promise<Runtime> => {
    const environment = await onnxruntimeEnvironment();
    if (device === 'cpu') {
      const found = await kernelsFor(options.cpuKernels);
      const only = options.cpuKernels === 'auto' || options.cpuKernels === 'off' ? undefined : options.cpuKernels;
      const isForAll = options.cpuKernels === 'auto' && process.env.POSTTRAIN_KERNELS === 'all';
      const target = found
        ? {
            ...cpuTarget,
            products: productKernels(found, options.matmulPrecision, only, isForAll),
            chains: options.elementwiseChains || only !== undefined || isForAll,
          }
        : cpuTarget;
      return { memory: new HostMemory(environment), target, providerFor: () => undefined };
    }
    const { memory, hasFloat16 } = await startDevice(environment, device, threads);
    deviceMemory = memory;
    return {
      memory,
      target: device === 'webgpu' ? webgpuTarget(hasFloat16) : { ...CPU_TARGET, nativeFloat16: true, mlas: false },
      providerFor: ({ float16Nodes }) => providerOf(device, hasFloat16 ? [] : float16Nodes),
    };
  };
  const started = (): Promise<Runtime> => {
    runtime ??= start();
    return runtime;
  };

  const cacheFolder = device === 'cpu' && cpuTarget === CPU_TARGET ? graphCacheFolder(options.graphCache) : undefined;
  const remembered = cacheFolder === undefined ? undefined : new RememberedGraphs(cacheFolder);
  /** Makes a lowered graph ready to run. */
  const executable = async (
    graph: Pick<Graph, 'inputs' | 'outputs'>,
    written: StoredGraph,
    { donations, constants }: CompileOptions,
    provider?: Provider,
  ): Promise<Executable> => {
    const { memory } = await started();
    const packed = device === 'cpu' && constants ? packedOf(constants) : undefined;
    const { model, inputs, outputs, hasOwnOperators } = written;
    const given = {
      ...{ model, hasOwnOperators },
      names: { inputs: inputs.map(inputName), outputs: outputs.map(outputName) },
    };
    const hold = async () =>
      packed
        ? sessions.holdPacked(given, {
            values: packed.values,
            owners: packed.owners,
            container: await packed.container(),
          })
        : sessions.hold(given, provider);
    const held = outputs.length > 0 ? await memory.during(hold) : undefined;
    if (held && onAssignment) onAssignment(held.session.assignment());
    return new OnnxExecutable(graph, written, held, memory, donations);
  };

  return {
    name: 'onnxruntime',
    device,
    kernels,
    nativeDTypes: new Set<DType>(['float32', 'int32', 'bool', ...(device === 'cpu' ? [] : ['float16' as const])]),
    start: async () => void (await started()),
    memoryUse: () => deviceMemory?.live ?? { buffers: 0, bytes: 0 },
    upload: async (data: TypedArray, spec: TensorSpec) => (await started()).memory.upload(data, spec),
    read: async (buffer: EngineBuffer) => (await started()).memory.read(onnxBuffer(buffer)),
    ...(device === 'cpu' ? {} : { free: (buffer: EngineBuffer) => deviceMemory?.free(buffer) }),
    graphCacheUse: () => ({ ...(remembered?.use ?? NOT_USED) }),
    async recall(traced: Graph, options: RecallOptions): Promise<Executable | undefined> {
      if (!remembered) return undefined;
      const { target } = await started();
      const known = await remembered.recall(traced, options, target);
      return known && executable(traced, known, options);
    },
    async compile(given: Graph, options: CompileOptions): Promise<Executable> {
      const { target, providerFor } = await started();
      const { donations, constants, traced } = options;
      const graph = withoutUnusableKernels(given, donations, target);
      const lowered = lowerGraph(
        graph,
        target,
        device === 'cpu' && constants ? packedOf(constants)?.inputs : undefined,
      );
      const isSafe = findsSafeOverwrites(lowered.onnx, device === 'webgpu' ? ON_WEBGPU : ON_HOST);
      const { inputs, outputs, onnx } = lowered;
      const written: StoredGraph = {
        ...{ model: encodeModel(onnx), inputs, outputs },
        hasOwnOperators: onnx.nodes.some(({ domain }) => domain === KERNEL_DOMAIN),
        inPlace: donations.map(({ input, output }) => isSafe(inputName(input), outputName(output))),
      };
      const [made] = await Promise.all([
        executable(graph, written, options, providerFor(lowered)),
        remembered?.keep(traced, written),
      ]);
      return made;
    },
  };
}

const NOT_USED: GraphCacheUse = { hits: 0, misses: 0, damaged: 0, uncacheable: 0, unwritten: 0 };

/** The kernels that an engine is to use. Throws where they were asked for and cannot be. */
async function kernelsFor(wanted: 'auto' | 'off' | Arithmetic): Promise<NativeKernels | undefined> {
  if (wanted === 'off') return undefined;
  const found = await loadKernels();
  if ('missing' in found) {
    if (wanted === 'auto') return undefined;
    throw new EngineError(
      'onnxruntime',
      `cpuKernels ${wanted}: ${found.missing}. \`node scripts/build-kernels.mjs\` builds them in the repository, where there is a C compiler; or leave the option out`,
    );
  }
  if (wanted === 'auto' || found.has.has(wanted)) return found;
  throw new EngineError(
    'onnxruntime',
    `cpuKernels ${wanted}: this processor has it not; it has ${[...found.has].join(', ')}`,
  );
}

/** Decomposes the cached attentions that GroupQueryAttention does not cover, and what only kernels of our own compute. */
function withoutUnusableKernels(graph: Graph, donations: readonly Donation[], target: LoweringTarget): Graph {
  const users = new Map<GraphNode, number>();
  for (const { node } of graph.nodes.flatMap((n) => n.inputs)) users.set(node, (users.get(node) ?? 0) + 1);
  const mayOverwrite = (node: GraphNode<'kernel'>, input: number, output: number) => {
    const source = node.inputs[input]!.node;
    if (users.get(source) !== 1) return false;
    if (source.op !== 'input') return !isRead(graph, node, output);
    return donations.some(({ input: given, output: taken }) => {
      const result = graph.outputs[taken]!;
      return graph.inputs[given] === source && result.node === node && result.index === output;
    });
  };
  const isUnusable = (node: GraphNode) => {
    if (!isOp(node, 'kernel')) return false;
    const { name } = node.attributes.kernel;
    if (OWN_KERNELS.has(name)) return !multipliesCodes(target);
    if (OWN_ATTENTION.has(name)) return !attendsOwn(node, target);
    return name === 'cachedAttention' && !canUseGroupQueryAttention(node, mayOverwrite, target);
  };
  const unusable = new Set(
    graph.nodes.filter(isUnusable).map((node) => (node as GraphNode<'kernel'>).attributes.kernel.name),
  );
  if (unusable.size === 0) return graph;
  return simplify(graph, {
    kernels: ({ name, lower }) => lower?.onnxruntime !== undefined || (!unusable.has(name) && name in target.kernels),
  });
}

/** How an output reuses a donated input. */
interface Takeover {
  readonly input: number;
  readonly output: number;
  readonly recycled?: true;
  /** In place; otherwise double buffering: into a spare, which is what the call before was given. */
  readonly inPlace: boolean;
  spare: OnnxBuffer | undefined;
}

/** What an input must be. */
interface Wanted {
  readonly spec: TensorSpec;
  readonly size: number;
}

class OnnxExecutable implements Executable {
  readonly #inputs: readonly Wanted[];
  readonly #outputs: readonly TensorSpec[];
  readonly #takeovers: readonly Takeover[];
  /** Outputs without a donation. */
  readonly #fresh: readonly number[];
  readonly #lowered: Pick<StoredGraph, 'inputs' | 'outputs'>;
  readonly #held: HeldSession | undefined;
  readonly #memory: Memory;

  constructor(
    graph: Pick<Graph, 'inputs' | 'outputs'>,
    { inputs, outputs, inPlace }: Pick<StoredGraph, 'inputs' | 'outputs' | 'inPlace'>,
    held: HeldSession | undefined,
    memory: Memory,
    donations: readonly Donation[],
  ) {
    this.#lowered = { inputs, outputs };
    this.#held = held;
    this.#memory = memory;
    this.#inputs = graph.inputs.map(({ outputs: [spec] }) => ({ spec: spec!, size: sizeOf(spec!.shape) }));
    this.#outputs = graph.outputs.map(specOf);
    this.#takeovers = donations.map((given, i) => ({ ...given, inPlace: inPlace[i]!, spare: undefined }));
    const taking = new Set(donations.map(({ output }) => output));
    this.#fresh = [...graph.outputs.keys()].filter((output) => !taking.has(output));
  }

  async run(given: readonly EngineBuffer[]): Promise<EngineBuffer[]> {
    const memory = this.#memory;
    const takeovers = this.#takeovers;
    const specs = this.#outputs;
    const inputs = given.map(onnxBuffer);
    checkInputs(this.#inputs, inputs);
    await memory.makeRoom();
    const uses = usesOfDonated(takeovers, inputs);
    const mayOverwrite = ({ input, recycled }: Takeover) => {
      const { exclusive, block } = inputs[input]!;
      return (recycled || exclusive) && uses.get(block) === 1;
    };
    const outputs = new Array<OnnxBuffer>(specs.length);
    for (const output of this.#fresh) outputs[output] = memory.allocate(specs[output]!);
    for (const takeover of takeovers) {
      const { input, output, inPlace, spare } = takeover;
      if (inPlace && !mayOverwrite(takeover)) inputs[input] = memory.copy(inputs[input]!);
      const before = inPlace ? inputs[input] : spare;
      outputs[output] = before?.successor(specs[output]!) ?? memory.allocate(specs[output]!);
    }
    if (this.#held) {
      const { session } = this.#held;
      const read = this.#lowered.inputs.map((i) => inputs[i]!.value());
      const written = this.#lowered.outputs.map((i) => outputs[i]!.value());
      await memory.during(() => session.run(read, written));
    }
    // Double buffering: the donated memory holds the output of the next call.
    for (const takeover of takeovers) {
      if (!takeover.inPlace) takeover.spare = mayOverwrite(takeover) ? inputs[takeover.input] : undefined;
    }
    return outputs;
  }

  async dispose(): Promise<void> {
    for (const { spare } of this.#takeovers) if (spare) this.#memory.free(spare);
    await this.#held?.release();
  }
}

/** Aliasing check: how many inputs each donated memory is. */
function usesOfDonated(takeovers: readonly Takeover[], inputs: readonly OnnxBuffer[]): ReadonlyMap<object, number> {
  const uses = new Map<object, number>();
  for (const { input } of takeovers) uses.set(inputs[input]!.block, 0);
  for (const { block } of inputs) {
    const count = uses.get(block);
    if (count !== undefined) uses.set(block, count + 1);
  }
  return uses;
}

function checkInputs(wanted: readonly Wanted[], inputs: readonly OnnxBuffer[]): void {
  const fits = wanted.every(({ spec, size }, i) => inputs[i]?.length === size && sameSpec(inputs[i]!.spec, spec));
  if (inputs.length !== wanted.length || !fits)
    throw new EngineError('onnxruntime', 'the buffers given to run do not match the inputs of the graph');
}
