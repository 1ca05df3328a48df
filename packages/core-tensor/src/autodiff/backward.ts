import { full, zeros } from '../create.js';
import { isFloat } from '../dtype.js';
import { AutodiffError } from '../errors.js';
import { type GraphNode, isOp, nameScope, type OpName, topologicalOrder, type Value } from '../graph/node.js';
import { apply, Tensor } from '../tensor.js';
import { tensorOf, type VjpContext, vjpRules } from './vjp-rules.js';

/** Cotangents by graph value; several contributions to one value add up. */
class Cotangents {
  readonly #byNode = new Map<GraphNode, (Tensor | undefined)[]>();

  of(node: GraphNode): readonly (Tensor | undefined)[] | undefined {
    return this.#byNode.get(node);
  }

  add(value: Value, cotangent: Tensor): void {
    const slots =
      this.#byNode.get(value.node) ?? new Array<Tensor | undefined>(value.node.outputs.length).fill(undefined);
    const present = slots[value.index];
    slots[value.index] = present ? present.add(cotangent) : cotangent;
    this.#byNode.set(value.node, slots);
  }
}

/**
 * Reverse-mode differentiation: the cotangents of `wrt` for given cotangents of `outputs`.
 * The result is ordinary graph, so it can be differentiated again. A `wrt` that no output depends on gets zeros.
 */
export function backward(outputs: readonly Tensor[], cotangents: readonly Tensor[], wrt: readonly Tensor[]): Tensor[] {
  for (const x of wrt) {
    if (!isFloat(x.dtype)) throw new AutodiffError(`cannot differentiate with respect to ${x}: it is not a float`);
  }
  const order = topologicalOrder(outputs.map((y) => y.value));
  const depends = dependents(order, wrt);
  const sums = new Cotangents();
  outputs.forEach((y, i) => {
    if (depends.has(y.value.node)) sums.add(y.value, cotangents[i]!);
  });
  const targets = new Set(wrt.map((x) => x.value.node));
  for (const node of order.reverse()) {
    const given = sums.of(node);
    if (!given || !depends.has(node)) continue;
    if (targets.has(node) && !node.inputs.some((input) => depends.has(input.node))) continue;
    nameScope(node.scope && gradientScope(node.scope), () => {
      const needed = node.inputs.map((input) => depends.has(input.node));
      const contributions = inputCotangents(node, given, needed);
      node.inputs.forEach((input, i) => {
        if (!needed[i]) return;
        const contribution = contributions[i]?.();
        if (contribution) sums.add(input, contribution);
      });
    });
  }
  return wrt.map((x) => sums.of(x.value.node)?.[x.value.index] ?? zeros(x.shape, x.dtype));
}

/** What is computed for the gradient of a module is found under its name. */
const gradientScope = (scope: string): string => (scope.startsWith(GRADIENT) ? scope : `${GRADIENT}${scope}`);

const GRADIENT = 'gradient of ';

/** The nodes of `order` through which some `wrt` reaches; only these need cotangents. */
function dependents(order: readonly GraphNode[], wrt: readonly Tensor[]): Set<GraphNode> {
  const found = new Set(wrt.map((x) => x.value.node));
  for (const node of order) {
    if (node.op !== 'stopGradient' && node.inputs.some((input) => found.has(input.node))) found.add(node);
  }
  return found;
}

function inputCotangents(
  node: GraphNode,
  given: readonly (Tensor | undefined)[],
  needed: readonly boolean[],
): readonly ((() => Tensor | undefined) | null)[] {
  const inputs = node.inputs.map(tensorOf);
  const outputs = node.outputs.map((_, index) => new Tensor({ node, index }));
  if (isOp(node, 'customVjp')) {
    const { outputs: count, backward: custom } = node.attributes;
    const result = custom({
      inputs: node.inputs.slice(count),
      outputs: outputs.map(valueIn),
      cotangents: given.map((g) => g?.value),
      needed: needed.slice(count),
    });
    const passed = new Array<null>(count).fill(null);
    return [...passed, ...result.map((value) => (value ? () => new Tensor(value) : null))];
  }
  if (isOp(node, 'kernel')) {
    const { kernel, config } = node.attributes;
    if (!kernel.vjp && !kernel.decompose) {
      throw new AutodiffError(
        `${kernel.name} has no gradient: give it a vjp or a decomposition, or stopGradient its input`,
      );
    }
    if (!kernel.vjp) {
      const decompose: Decompose = (xs, wanted) => kernel.decompose!(xs.map(valueIn), config, wanted).map(tensorOf);
      return differentiateDecomposition(decompose, inputs, given).map((cotangent) =>
        cotangent ? () => cotangent : null,
      );
    }
    const result = kernel.vjp({
      inputs: node.inputs,
      outputs: outputs.map(valueIn),
      cotangents: given.map((g) => g?.value),
      config,
      needed,
    });
    return result.map((value) => (value ? () => new Tensor(value) : null));
  }
  const first = node.outputs[0]!;
  const dy = given[0] ?? full(first.shape, 0, isFloat(first.dtype) ? first.dtype : 'float32');
  return ruleOf(node.op)({ inputs, outputs, attributes: node.attributes as never, dy, cotangents: given });
}

const valueIn = ({ value }: Tensor): Value => value;

/** The table is typed per op; one cast here spares every caller of it. */
function ruleOf(op: OpName) {
  return vjpRules[op as keyof typeof vjpRules] as (
    context: VjpContext<OpName>,
  ) => readonly ((() => Tensor | undefined) | null)[];
}

/** The outputs of a kernel in primitives; `wanted` as in `Kernel.decompose`. */
export type Decompose = (inputs: readonly Tensor[], wanted: readonly boolean[]) => readonly Tensor[];

/** Cotangents of a kernel's inputs by differentiating its decomposition. */
export function differentiateDecomposition(
  decompose: Decompose,
  inputs: readonly Tensor[],
  given: readonly (Tensor | undefined)[],
): (Tensor | undefined)[] {
  const isolated = inputs.map(variable);
  const wanted = given.map((cotangent) => cotangent !== undefined);
  const outputs = decompose(isolated, wanted);
  const used = outputs.map((y, i) => ({ y, cotangent: given[i] })).filter(({ cotangent }) => cotangent !== undefined);
  const floats = isolated.filter((x) => isFloat(x.dtype));
  const gradients = backward(
    used.map(({ y }) => y),
    used.map(({ cotangent }) => cotangent!),
    floats,
  );
  return isolated.map((x) => {
    const at = floats.indexOf(x);
    return at < 0 ? undefined : gradients[at];
  });
}

/** A fresh node equal to x, so that differentiation stops at it and does not run into what made x. */
export const variable = (x: Tensor): Tensor => apply('reshape', [x], { shape: x.shape });
