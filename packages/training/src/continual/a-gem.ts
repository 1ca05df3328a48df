import { compile, currentEngine, perEngine, type Tensor, where } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';

/** What `aGem` gives. */
export interface AGemResult {
  /** To be applied: `optimStep({ learningRate, gradients })`. */
  readonly gradients: Named;
  /** g · g_ref, before the projection; below 0 the step would have hurt what is remembered. */
  readonly interference: number;
}

const dot = (a: Named, b: Named): Tensor =>
  Object.entries(a)
    .map(([name, x]) => x.mul(b[name]!).sum())
    .reduce((x, y) => x.add(y));

const projection = perEngine(() =>
  compile(
    (gradients: Named, memory: Named) => {
      const interference = dot(gradients, memory);
      const factor = where(interference.less(0), interference.div(dot(memory, memory)), 0);
      return { gradients: mapNamed(gradients, (g, name) => g.sub(memory[name]!.mul(factor))), interference };
    },
    { name: 'aGem' },
  ),
);

/**
 * Averaged gradient episodic memory (arXiv 1812.00420, eq. 11): where the gradient g of new rows and the gradient g_ref of
 * remembered rows point against each other, g becomes g - (g · g_ref / g_ref · g_ref) g_ref, which does not raise the loss of what is
 * remembered to first order; else it stays. Both are what `trainer.takeGradients()` gives.
 */
export async function aGem(gradients: Named, memory: Named): Promise<AGemResult> {
  const { interference, ...result } = await projection(currentEngine())(gradients, memory);
  return { ...result, interference: await interference.item() };
}
