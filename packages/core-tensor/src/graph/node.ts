import type { GraphNode, OpAttributes, OpName, Value } from './ops.js';
import { inferOutputs } from './rules.js';
import type { TensorSpec } from './spec.js';

export type {
  Graph,
  GraphKernel,
  GraphNode,
  OpAttributes,
  OpName,
  Storage,
  Value,
} from './ops.js';
export { sameSpec, type TensorSpec } from './spec.js';

export const specOf = (value: Value): TensorSpec => value.node.outputs[value.index]!;

/** Whether a node is an application of `op`; narrows its attributes. */
export function isOp<Name extends OpName>(node: GraphNode, op: Name): node is GraphNode<Name> {
  return node.op === op;
}

let nextId = 0;

/** The id that the next node gets: a node made from now on has this id or a larger one. */
export const nextNodeId = (): number => nextId;

let currentScope: string | undefined;

/**
 * Runs `f`, and notes `name` on every operation that is recorded meanwhile: a module's path, for messages such as those of
 * `findNonFinite`. The innermost name counts; undefined stands for none.
 */
export function nameScope<T>(name: string | undefined, f: () => T): T {
  const outer = currentScope;
  currentScope = name;
  try {
    return f();
  } finally {
    currentScope = outer;
  }
}

/** Makes a node, checking shapes and dtypes; throws `ShapeError` or `DTypeError` naming the op. */
export function makeNode<Name extends OpName>(
  op: Name,
  inputs: readonly Value[],
  attributes: OpAttributes[Name],
): GraphNode<Name> {
  const outputs = inferOutputs(op, inputs.map(specOf), attributes);
  const node = { id: nextId++, op, inputs, attributes, outputs };
  return currentScope === undefined ? node : { ...node, scope: currentScope };
}

/** Makes a node with one output and returns that output. */
export function makeValue<Name extends OpName>(
  op: Name,
  inputs: readonly Value[],
  attributes: OpAttributes[Name],
): Value {
  return { node: makeNode(op, inputs, attributes), index: 0 };
}

/**
 * Topological order: all nodes that `outputs` need, each after its inputs; nodes for which `known` holds are left out,
 * with what only they need. Outputs come in the order in which they were made, not that of the list, so that what was
 * written for one parameter after the other also runs so, and memory for one at a time is enough. Iterative, so depth is
 * not limited by the stack.
 */
export function topologicalOrder(outputs: readonly Value[], known?: (node: GraphNode) => boolean): GraphNode[] {
  const order: GraphNode[] = [];
  const state = new Map<GraphNode, 'open' | 'done'>();
  const stack: GraphNode[] = outputs.map((v) => v.node).sort((a, b) => b.id - a.id);
  while (stack.length > 0) {
    const node = stack[stack.length - 1]!;
    if (known?.(node)) {
      stack.pop();
    } else if (state.get(node) === undefined) {
      state.set(node, 'open');
      for (let i = node.inputs.length - 1; i >= 0; i--) {
        const input = node.inputs[i]!.node;
        if (state.get(input) === undefined) stack.push(input);
      }
    } else {
      stack.pop();
      if (state.get(node) === 'open') {
        state.set(node, 'done');
        order.push(node);
      }
    }
  }
  return order;
}
