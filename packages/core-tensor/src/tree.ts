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
export function mapTree<T>(tree: T, replace: (tensor: Tensor, path: string) => Tensor): T {
  return withLeaves(
    tree,
    leavesOf(tree).map(({ tensor, path }) => replace(tensor, path)),
  );
}

/** The same tree with its tensor leaves taken in order from `tensors`. */
export function withLeaves<T>(tree: T, tensors: readonly Tensor[]): T {
  let next = 0;
  const visit = (branch: unknown): unknown => {
    if (branch instanceof Tensor) return tensors[next++]!;
    if (!isBranch(branch)) return branch;
    if (Array.isArray(branch)) return branch.map(visit);
    if (Object.getPrototypeOf(branch) !== Object.prototype && Object.getPrototypeOf(branch) !== null) {
      throw new CompileError(`a tree of tensors holds plain objects and arrays only, not a ${branch.constructor.name}`);
    }
    const copy: Record<string, unknown> = { ...branch };
    for (const key of Object.keys(copy)) copy[key] = visit(copy[key]);
    return copy;
  };
  return visit(tree) as T;
}

/** What is known of a tree after one walk. */
interface FlatTree {
  /** The leaves, in the order of `leavesOf`. */
  readonly tensors: readonly Tensor[];
  /** Equal for trees of equal structure, specs and static leaves. */
  readonly signature: string;
}

export function flattenTree(tree: unknown): FlatTree {
  // Called at every call of a compiled function, so that nothing is listed or joined on the way.
  const tensors: Tensor[] = [];
  const visit = (branch: unknown): string => {
    if (branch instanceof Tensor) {
      tensors.push(branch);
      return `${branch.dtype}${showShape(branch.shape)}`;
    }
    if (typeof branch === 'function' || typeof branch === 'symbol') {
      throw new CompileError(
        `an argument of a compiled function holds a ${typeof branch}, which has no stable identity`,
      );
    }
    if (!isBranch(branch)) return typeof branch === 'string' ? JSON.stringify(branch) : String(branch);
    let text = '';
    if (Array.isArray(branch)) {
      for (const child of branch) text += text ? `;${visit(child)}` : visit(child);
      return `[${text}]`;
    }
    for (const key of Object.keys(branch)) {
      const entry = `${quote(key)}:${visit(branch[key as never])}`;
      text += text ? `;${entry}` : entry;
    }
    return `{${text}}`;
  };
  const signature = visit(tree);
  return { tensors, signature };
}

const quote = (key: string): string => (/["\\]/.test(key) ? JSON.stringify(key) : `"${key}"`);
