import { decodeNumbers, encodeNumbers, matchesDType, type TypedArray } from '../dtype.js';
import { EngineError } from '../errors.js';
import { type Graph, type GraphNode, specOf, type TensorSpec } from '../graph/node.js';
import { crossingKey, type Stage } from '../graph/stages.js';
import type { HostTensor } from '../kernels/forwards.js';
import { showShape, sizeOf } from '../shape.js';
import type { CompileOptions, Donation, Engine, EngineBuffer, Executable } from './engine.js';

/** Stages compiled one by one: run one, compute its host nodes from what it gave, go on. */
export async function stagedExecutable(
  engine: Engine,
  graph: Graph,
  stages: readonly Stage[],
  { donations }: CompileOptions,
): Promise<Executable> {
  const plan = stages.map((stage, level) => donatedTo(graph, stages, stage, level, donations));
  const executables: (Executable | undefined)[] = [];
  for (const { stage, donations: own } of plan) {
    const isEmpty = stage.graph.outputs.length === 0;
    executables.push(isEmpty ? undefined : await engine.compile(stage.graph, { donations: own }));
  }
  const taken = new Set(plan.flatMap(({ taken: inputs }) => inputs));
  return {
    run: async (inputs) => {
      const run = new StagedRun(engine, graph, inputs);
      try {
        for (const [level, { stage }] of plan.entries()) await run.stage(stage, executables[level]);
        return run.outputs();
      } finally {
        // Donated memory that no stage reused is freed here: the caller never will.
        run.free(donations.map(({ input }) => input).filter((input) => !taken.has(input)));
      }
    },
    dispose: async () => {
      for (const executable of executables) await executable?.dispose();
    },
  };
}

interface PlannedStage {
  readonly stage: Stage;
  readonly donations: readonly Donation[];
  /** Inputs of the whole graph that are donated to this stage. */
  readonly taken: readonly number[];
}

/** The donations that one stage can make use of: it gives the output, and nothing reads the input after it. */
function donatedTo(
  graph: Graph,
  stages: readonly Stage[],
  stage: Stage,
  level: number,
  donations: readonly Donation[],
): PlannedStage {
  const keyOf = (input: number) => crossingKey({ node: graph.inputs[input]!, index: 0 });
  const usable = donations.filter(({ input, output }) => {
    const key = keyOf(input);
    const isGivenHere = stage.outputs.some(({ graphOutput }) => graphOutput === output);
    const isReadLater =
      stages
        .slice(level)
        .some(({ hostNodes }) => hostNodes.some((node) => node.inputs.some((x) => crossingKey(x) === key))) ||
      stages.slice(level + 1).some(({ inputs }) => inputs.includes(key));
    return isGivenHere && !isReadLater;
  });
  const inputs = [...stage.inputs];
  const placeholders = [...stage.graph.inputs];
  for (const { input } of usable) {
    if (inputs.includes(keyOf(input))) continue;
    // An input that nothing reads: only its memory is wanted.
    inputs.push(keyOf(input));
    placeholders.push(graph.inputs[input]!);
  }
  const added = placeholders.slice(stage.graph.inputs.length);
  const extended = { ...stage.graph, inputs: placeholders, nodes: [...added, ...stage.graph.nodes] };
  return {
    stage: { ...stage, graph: extended, inputs },
    donations: usable.map(({ input, output, ...rest }) => ({
      ...rest,
      input: inputs.indexOf(keyOf(input)),
      output: stage.outputs.findIndex(({ graphOutput }) => graphOutput === output),
    })),
    taken: usable.map(({ input }) => input),
  };
}

/** The buffers of one run. */
class StagedRun {
  readonly #buffers = new Map<string, EngineBuffer>();
  readonly #results = new Map<number, EngineBuffer>();
  readonly #made = new Set<EngineBuffer>();
  readonly #engine: Engine;
  readonly #graph: Graph;
  readonly #given: readonly EngineBuffer[];

  constructor(engine: Engine, graph: Graph, given: readonly EngineBuffer[]) {
    this.#engine = engine;
    this.#graph = graph;
    this.#given = given;
    for (const [i, node] of graph.inputs.entries()) this.#buffers.set(crossingKey({ node, index: 0 }), given[i]!);
  }

  async stage(stage: Stage, executable: Executable | undefined): Promise<void> {
    const outputs = (await executable?.run(stage.inputs.map((key) => this.#buffers.get(key)!))) ?? [];
    for (const [i, { key, graphOutput }] of stage.outputs.entries()) {
      this.#made.add(outputs[i]!);
      // An input that is an output is copied there; other readers keep reading the input.
      if (!this.#buffers.has(key)) this.#buffers.set(key, outputs[i]!);
      if (graphOutput !== undefined) this.#results.set(graphOutput, outputs[i]!);
    }
    for (const node of stage.hostNodes) await this.#host(node);
  }

  async #host(node: GraphNode<'kernel'>): Promise<void> {
    const inputs: HostTensor[] = [];
    const memories: TypedArray[] = [];
    for (const value of node.inputs) {
      const data = await this.#engine.read(this.#buffers.get(crossingKey(value))!);
      memories.push(data);
      inputs.push({ ...specOf(value), data: numbersOf(data, specOf(value)) });
    }
    const results = callHost(node, inputs, this.#engine);
    for (const [index, spec] of node.outputs.entries()) {
      const key = crossingKey({ node, index });
      const data = hostArray(results[index]!, spec, memories);
      const upload = async (copy: TypedArray) => {
        const buffer = await this.#engine.upload(copy, spec);
        this.#made.add(buffer);
        return buffer;
      };
      this.#buffers.set(key, await upload(data));
      for (const [i, value] of this.#graph.outputs.entries()) {
        if (crossingKey(value) === key) this.#results.set(i, await upload(data.slice()));
      }
    }
  }

  outputs(): EngineBuffer[] {
    const outputs = this.#graph.outputs.map((_, i) => this.#results.get(i)!);
    for (const buffer of outputs) this.#made.delete(buffer);
    return outputs;
  }

  free(donated: readonly number[]): void {
    for (const buffer of this.#made) this.#engine.free?.(buffer);
    for (const input of donated) this.#engine.free?.(this.#given[input]!);
  }
}

/** Numbers rather than raw bits. */
function numbersOf(data: TypedArray, { dtype }: TensorSpec): HostTensor['data'] {
  return data instanceof Uint16Array ? Float32Array.from(decodeNumbers(data, dtype)) : data;
}

function callHost(node: GraphNode<'kernel'>, inputs: HostTensor[], engine: Engine): readonly ArrayLike<number>[] {
  const { kernel, config } = node.attributes;
  let results: readonly ArrayLike<number>[];
  try {
    results = kernel.lower!.host!(inputs, config as never);
  } catch (cause) {
    throw new EngineError(engine.name, `lower.host of ${kernel.name} failed: ${(cause as Error).message}`, { cause });
  }
  const wanted = node.outputs.map(({ shape }) => showShape(shape)).join(', ');
  if (!Array.isArray(results) || results.length !== node.outputs.length) {
    throw new EngineError(
      engine.name,
      `lower.host of ${kernel.name} must return an array of outputs, of shapes ${wanted}`,
    );
  }
  for (const [i, { shape }] of node.outputs.entries()) {
    if (results[i]?.length === sizeOf(shape)) continue;
    throw new EngineError(
      engine.name,
      `lower.host of ${kernel.name}: output ${i} has ${results[i]?.length} elements, not those of ${showShape(shape)}`,
    );
  }
  return results;
}

/** The result of a host function as a host array of its dtype, in memory that is not an input's. */
function hostArray(result: ArrayLike<number>, { dtype }: TensorSpec, inputs: readonly TypedArray[]): TypedArray {
  const isDouble = result instanceof Float64Array && dtype === 'float32';
  const isPlain = dtype !== 'bool' && dtype !== 'float16' && dtype !== 'bfloat16';
  const isReady = isDouble || (isPlain && ArrayBuffer.isView(result) && matchesDType(result as TypedArray, dtype));
  // The reference engine computes in double precision, and so do the host functions that it calls.
  if (!isReady && dtype === 'float32' && inputs.some((x) => x instanceof Float64Array))
    return Float64Array.from(result);
  if (!isReady) return encodeNumbers(result, dtype);
  const array = result as TypedArray;
  return inputs.some(({ buffer }) => buffer === array.buffer) ? array.slice() : array;
}
