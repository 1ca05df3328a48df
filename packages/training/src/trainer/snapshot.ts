import { leavesOf, mapTree, type Tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';

/** What a trainer goes on from: how many updates it has made, and every tensor of it by its path. */
export interface TensorSnapshot {
  readonly step: number;
  readonly tensors: Readonly<Record<string, Tensor>>;
}

/** Tensors of a tree by their paths. */
export const tensorsByPath = (tree: unknown): Record<string, Tensor> =>
  Object.fromEntries(leavesOf(tree).map(({ path, tensor }) => [path, tensor]));

/**
 * A tree like this one with the tensors of a snapshot.
 *
 * @throws PosttrainError RESUME when a tensor is missing or of another shape or dtype
 */
export function treeOfSnapshot<T>(tree: T, { tensors }: TensorSnapshot): T {
  const problems = leavesOf(tree).flatMap(({ path, tensor: wanted }) => {
    const saved = tensors[path];
    if (!saved) return `lacks ${path}`;
    // A tensor as text is its dtype and shape.
    return String(saved) === String(wanted) ? [] : `has ${path} as ${saved}, not ${wanted}`;
  });
  if (problems.length > 0) throw new PosttrainError('RESUME', `the checkpoint ${problems.join('; ')}`);
  return mapTree(tree, (_, path) => tensors[path]!);
}
