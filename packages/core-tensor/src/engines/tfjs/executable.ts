import { type Graph, type GraphNode, isOp, type Value } from '../../graph/node.js';
import { sameShape } from '../../shape.js';
import type { Donation, EngineBuffer, Executable } from '../engine.js';
import type { Backend } from './backend.js';
import { type HeldTensors, type TfjsBuffer, tfjsBuffer } from './buffers.js';
import { evaluate } from './evaluate.js';
import { KernelScope } from './scope.js';
import type { TfjsKernelTensor } from './tfjs.js';

/** One node of the graph, with its inputs and outputs as numbered slots. */
interface Step {
  readonly node: GraphNode;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** Slots that nothing reads after this step. */
  readonly last: readonly number[];
}

const isConstant = (node: GraphNode): boolean => isOp(node, 'data') || isOp(node, 'full') || isOp(node, 'iota');

/**
 * Interprets a graph node by node. A tensor of a run lives in a slot and is freed after the last step that reads it;
 * constants are made once. Device memory is immutable, so a donated input is freed early rather than written over.
 */
export class TfjsExecutable implements Executable {
  readonly #steps: readonly Step[];
  readonly #inputs: readonly number[];
  readonly #outputs: readonly number[];
  readonly #constants = new Map<number, TfjsKernelTensor>();
  readonly #scope: KernelScope;
  readonly #backend: Backend;
  readonly #held: HeldTensors;
  readonly #graph: Graph;
  readonly #donations: readonly Donation[];

  /** The backend must be the current one. */
  constructor(backend: Backend, held: HeldTensors, graph: Graph, donations: readonly Donation[]) {
    this.#backend = backend;
    this.#held = held;
    this.#graph = graph;
    this.#donations = donations;
    this.#scope = new KernelScope(backend.tf, backend.name);
    const firstSlots = new Map<GraphNode, number>();
    let count = 0;
    for (const node of graph.nodes) {
      firstSlots.set(node, count);
      count += node.outputs.length;
    }
    const slotOf = ({ node, index }: Value) => firstSlots.get(node)! + index;
    this.#inputs = graph.inputs.map((node) => firstSlots.get(node)!);
    this.#outputs = graph.outputs.map(slotOf);
    const computed = graph.nodes.filter((node) => !isOp(node, 'input') && !isConstant(node));
    const plain = computed.map((node) => ({
      node,
      inputs: node.inputs.map(slotOf),
      outputs: node.outputs.map((_, index) => firstSlots.get(node)! + index),
    }));
    const donated = new Set(donations.map(({ input }) => this.#inputs[input]!));
    this.#steps = withLastUses(plain, donated, new Set(this.#outputs));
    for (const node of graph.nodes.filter(isConstant)) {
      this.#constants.set(firstSlots.get(node)!, evaluate(this.#scope, node, [])[0]!);
    }
  }

  async run(given: readonly EngineBuffer[]): Promise<EngineBuffer[]> {
    const inputs = given.map(tfjsBuffer);
    this.#check(inputs);
    await this.#held.makeRoom();
    await this.#backend.use();
    // What is freed when something goes wrong: everything in `slots` that is neither a constant nor still the caller's.
    const slots = new Map(this.#constants);
    const borrowed = new Set(this.#constants.keys());
    for (const [i, slot] of this.#inputs.entries()) {
      const isDonated = this.#donations.some(({ input }) => input === i);
      slots.set(slot, isDonated ? this.#held.take(inputs[i]!) : inputs[i]!.tensor);
      if (!isDonated) borrowed.add(slot);
    }
    const free = (slot: number) => {
      slots.get(slot)?.dispose();
      slots.delete(slot);
    };
    let at: GraphNode | undefined;
    try {
      for (const { node, inputs: read, outputs, last } of this.#steps) {
        at = node;
        const results = evaluate(
          this.#scope,
          node,
          read.map((slot) => slots.get(slot)!),
        );
        results.forEach((tensor, i) => {
          slots.set(outputs[i]!, tensor);
        });
        checkShapes(node, results);
        for (const slot of last) free(slot);
      }
      at = undefined;
      const tensors = this.#handOver(slots, borrowed);
      return this.#graph.outputs.map(({ node, index }, i) => this.#held.hold(node.outputs[index]!, tensors[i]!));
    } catch (cause) {
      for (const slot of slots.keys()) if (!borrowed.has(slot)) free(slot);
      const where = at ? ` in ${isOp(at, 'kernel') ? at.attributes.kernel.name : at.op}` : '';
      throw this.#backend.error(`the graph failed${where}: ${(cause as Error).message}`, cause);
    }
  }

  async dispose(): Promise<void> {
    for (const tensor of this.#constants.values()) tensor.dispose();
    this.#constants.clear();
  }

  /** The outputs, each under a handle of its own; frees the donated inputs that none of them is. */
  #handOver(slots: Map<number, TfjsKernelTensor>, borrowed: ReadonlySet<number>): TfjsKernelTensor[] {
    const taken = new Set(borrowed);
    const tensors = this.#outputs.map((slot) => {
      const tensor = slots.get(slot)!;
      if (!taken.has(slot)) {
        taken.add(slot);
        return tensor;
      }
      const shared = this.#scope.share(tensor);
      this.#scope.release([shared]);
      return shared;
    });
    for (const [slot, tensor] of slots) if (!taken.has(slot)) tensor.dispose();
    return tensors;
  }

  #check(inputs: readonly TfjsBuffer[]): void {
    const fits = this.#graph.inputs.every((node, i) => {
      const spec = inputs[i]?.spec;
      return spec && spec.dtype === node.outputs[0]!.dtype && sameShape(spec.shape, node.outputs[0]!.shape);
    });
    if (inputs.length !== this.#graph.inputs.length || !fits)
      throw this.#backend.error('the buffers given to run do not match the inputs of the graph');
  }
}

/** Adds to each step the slots that may be freed after it: computed ones and donated inputs that are no outputs. */
function withLastUses(
  steps: readonly Omit<Step, 'last'>[],
  donated: ReadonlySet<number>,
  kept: ReadonlySet<number>,
): Step[] {
  const seen = new Set(kept);
  const own = new Set([...donated, ...steps.flatMap(({ outputs }) => outputs)]);
  return steps
    .toReversed()
    .map((step) => {
      const last: number[] = [];
      for (const slot of [...step.inputs, ...step.outputs]) {
        if (!seen.has(slot) && own.has(slot)) last.push(slot);
        seen.add(slot);
      }
      return { ...step, last };
    })
    .toReversed();
}

/** A kernel that gave another shape than the graph says would be found out much later, or never. */
function checkShapes(node: GraphNode, results: readonly TfjsKernelTensor[]): void {
  for (const [i, { shape }] of node.outputs.entries()) {
    const got = results[i]?.shape;
    if (!got || !sameShape(got, shape)) throw new Error(`output ${i} has shape [${got}], not [${shape}]`);
  }
}
