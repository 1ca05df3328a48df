import { CompileError } from './errors.js';
import { showShape } from './shape.js';
import { Tensor } from './tensor.js';

/*
 * A tree is tensors in nested arrays and plain objects; other leaves (numbers, strings, booleans, null) are static.
 * Trees are typed by the caller (`T`), because interfaces do not fit an index signature.
 */

/** A tensor leaf and where it sits, such as `layers.0.weight`. */
export interface Leaf {
  readonly path: string;
  readonly tensor: Tensor;
}

const isBranch = (tree: unknown): tree is object =>
  typeof tree === 'object' && tree !== null && !(tree instanceof Tensor);

/** The tensor leaves, in a fixed order: array order, object insertion order. */
export function leavesOf(tree: unknown): Leaf[] {
  // Called for every argument of every call of a compiled function, so that lists are not joined on the way.
  const leaves: Leaf[] = [];
  const visit = (branch: unknown, path: string): void => {
    if (branch instanceof Tensor) leaves.push({ path, tensor: branch });
    else if (isBranch(branch)) {
      for (const key of Object.keys(branch)) visit(branch[key as never], path ? `${path}.${key}` : key);
    }
  };
  visit(tree, '');
  return leaves;
}

/** The same tree with every tensor leaf replaced. */
export function mapTree<T>(tree: T, replace: (tensor: Tensor, path: string) => Tensor, path = ''): T {
  if (tree instanceof Tensor) return replace(tree, path) as T;
  if (!isBranch(tree)) return tree;
  const join = (key: string | number) => (path ? `${path}.${key}` : String(key));
  if (Array.isArray(tree)) return tree.map((child: unknown, i) => mapTree(child, replace, join(i))) as unknown as T;
  if (Object.getPrototypeOf(tree) !== Object.prototype && Object.getPrototypeOf(tree) !== null) {
    throw new CompileError(`a tree of tensors holds plain objects and arrays only, not a ${tree.constructor.name}`);
  }
  return Object.fromEntries(Object.entries(tree).map(([key, child]) => [key, mapTree(child, replace, join(key))])) as T;
}

/** The same tree with its tensor leaves taken in order from `tensors`. */
export function withLeaves<T>(tree: T, tensors: readonly Tensor[]): T {
  let next = 0;
  return mapTree(tree, () => tensors[next++]!);
}

/** A string that is equal for trees of equal structure, specs and static leaves. */
export function signatureOf(tree: unknown): string {
  if (tree instanceof Tensor) return `${tree.dtype}${showShape(tree.shape)}`;
  if (typeof tree === 'function' || typeof tree === 'symbol') {
    throw new CompileError(`an argument of a compiled function holds a ${typeof tree}, which has no stable identity`);
  }
  if (!isBranch(tree)) return typeof tree === 'string' ? JSON.stringify(tree) : String(tree);
  if (Array.isArray(tree)) return `[${tree.map(signatureOf).join(';')}]`;
  return `{${Object.entries(tree)
    .map(([key, child]) => `${JSON.stringify(key)}:${signatureOf(child)}`)
    .join(';')}}`;
}
