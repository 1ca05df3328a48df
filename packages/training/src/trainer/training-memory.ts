import { leavesOf, type Tensor } from '@posttrain/core-tensor';
import type { Named, Optimizer } from '@posttrain/core-tensor/optim';
import { availableBytes, ModelMemoryError } from '@posttrain/lm';

const BYTES: Readonly<Record<Tensor['dtype'], number>> = {
  ...{ float32: 4, int32: 4, float16: 2, bfloat16: 2 },
  ...{ int8: 1, uint8: 1, bool: 1 },
};
const bytesOf = (tree: unknown): number =>
  leavesOf(tree).reduce((sum, { tensor: { size, dtype } }) => sum + size * BYTES[dtype], 0);

/**
 * The least bytes that training takes beside the model: a copy of what is trained, a float32 gradient of each part that is, and the optimizer's
 * states. Activations are left out.
 *
 * @param statesElsewhere the states are in a file
 */
export function trainingBytes(start: Named, optimizer: Optimizer<object>, statesElsewhere: boolean): number {
  const trained = Object.entries(start).filter(([name, like]) => optimizer.trains?.(name, like) ?? true);
  const gradients = trained.reduce((sum, [, { size }]) => sum + size * BYTES.float32, 0);
  // Zeros that nobody has written take no memory yet.
  return bytesOf(start) + gradients + (statesElsewhere ? 0 : bytesOf(optimizer.init(start)));
}

/** @throws ModelMemoryError when a machine's own memory, which an engine on the CPU has, cannot hold what `trainingBytes` counts */
export function assertTrainingFits(
  name: string,
  start: Named,
  optimizer: Optimizer<object>,
  { device, statesElsewhere }: { readonly device: string; readonly statesElsewhere: boolean },
): void {
  // A browser does not say.
  if (device !== 'cpu' || typeof process === 'undefined') return;
  const [needed, available] = [trainingBytes(start, optimizer, statesElsewhere), availableBytes()];
  if (needed <= available) return;
  throw new ModelMemoryError(
    name,
    needed,
    available,
    "Train an adapter, take an optimizer with smaller states (adamw_8bit), keep them in a file (offloadOptimizer: { device: 'nvme', nvmePath }), or take a machine with more.",
    'training needs GB of memory beside the model for trained copies, gradients and the states of the optimizer, before any activation',
  );
}
