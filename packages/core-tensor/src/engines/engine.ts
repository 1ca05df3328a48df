import type { DType, TypedArray } from '../dtype.js';
import type { BufferHome, EngineBuffer, Graph } from '../graph/ops.js';
import type { TensorSpec } from '../graph/spec.js';

export type { BufferHome, EngineBuffer } from '../graph/ops.js';

/** Buffer donation: output `output` of a graph may reuse the memory of input `input`, which has the same spec. */
export interface Donation {
  readonly input: number;
  readonly output: number;
  /** Reuse also memory that `read` has handed out: the host does not look at it any more. */
  readonly recycled?: true;
}

/** What an engine is told of a graph that it compiles. */
export interface CompileOptions {
  /**
   * Donated inputs: after `run` the caller never reads their buffers again. The engine may write
   * the output over the input, but only where no other node can still read the input afterwards; where it cannot
   * show that, it must write somewhere else (for example into a spare buffer that it swaps with the donated one on
   * every call). Either way the result must equal that of the same graph without donation.
   */
  readonly donations: readonly Donation[];
  /**
   * Inputs that are the same buffer at every run, which the engine may hold on to and keep in another layout too. It may as
   * well ignore them: `run` is given them all the same.
   */
  readonly constants?: ReadonlyMap<number, EngineBuffer>;
  /** The graph that this one was simplified from, which `recall` was asked for before and did not know. */
  readonly traced?: Graph;
}

/** What `Engine.recall` is told of a traced graph. */
export interface RecallOptions extends Omit<CompileOptions, 'traced'> {
  /** The fused kernels that would stay in the graph when it is simplified, by name; all others would be decomposed. */
  readonly kernels: ReadonlySet<string>;
}

/** A graph made ready to run. */
export interface Executable {
  /**
   * Runs once. `inputs` match `graph.inputs`; the result matches `graph.outputs`, in buffers that stay valid until
   * the caller drops them or donates them to a later call. Calls must not overlap; the caller awaits each.
   */
  run(inputs: readonly EngineBuffer[]): Promise<EngineBuffer[]>;
  /** Frees what the engine holds for this graph. Buffers it returned stay valid. */
  dispose(): Promise<void>;
}

/**
 * Makes graphs run on one device. An engine knows primitives and, optionally, fused kernels; it knows no method.
 *
 * Contract, checked by the conformance suite in `@posttrain/core-tensor/testing`:
 * - every primitive of the table, for every shape and dtype that the table's rules admit;
 * - a `kernel` node that the engine does not override never reaches it: it is decomposed, or computed on the host
 *   between two graphs (`compileGraph`). What it overrides: the names in `kernels`, and every kernel that brings a
 *   forward of its own under the engine's `name` (`kernel.lower[name]`);
 * - float16 and bfloat16 results are rounded to that type, whatever the engine computes with inside;
 * - integers wrap, booleans are 0 or 1, indices out of range are the caller's error (`read` may then give anything).
 */
export interface Engine extends BufferHome {
  /** For messages, and the key of `Kernel.lower`: `onnxruntime`, `reference`. */
  readonly name: string;
  /** `cpu`, `webgpu`, `cuda`. */
  readonly device: string;
  /** Names of the fused kernels that this engine overrides. */
  readonly kernels: ReadonlySet<string>;
  /** Element types it computes with natively; the others it must still accept. */
  readonly nativeDTypes: ReadonlySet<DType>;
  /** Host memory to device memory. May alias `data` where device memory is host memory. */
  upload(data: TypedArray, spec: TensorSpec): EngineBuffer | Promise<EngineBuffer>;
  compile(graph: Graph, options: CompileOptions): Promise<Executable>;
  /**
   * Makes a traced graph, not simplified, ready to run from what the engine remembers of it. Undefined where it does not know exactly this
   * graph: it is then simplified and compiled. Default: the engine remembers nothing.
   */
  recall?(traced: Graph, options: RecallOptions): Promise<Executable | undefined>;
}
