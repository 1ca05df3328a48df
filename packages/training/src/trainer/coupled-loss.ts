import { realize, type Tensor, tensor, valueAndGrad } from '@posttrain/core-tensor';
import type { Loss, Readout } from '../loss/loss.js';
import { checkedResult } from '../loss/loss-result.js';
import type { TrainingRow } from '../loss/rows.js';
import { weightedSum } from '../loss/token-loss.js';
import type { ForwardBackwardResult } from './pass-sum.js';
import type { TrainableModel } from './trainable-model.js';
import type { Trainer } from './trainer.js';

/** The annotation that carries ∂L/∂value. */
const GRADIENT = 'loss_gradient';

/**
 * A loss in which one number of every row meets those of all rows of the step, however these are split over micro-batches:
 * sorting (AOT), minimum risk (MRT), normalising over the batch.
 */
export interface CoupledLoss {
  readonly name: string;
  /** The number of a row, [b]. */
  readonly readout: Readout<Tensor>;
  /** That of the rows; see `Loss`. Default 1. */
  readonly groupSize?: number;
  /**
   * Scalars of the numbers [n] of all rows of the step, in their order. Nothing is split, so nothing needs to be a sum. `rows` are those
   * rows: what they say beside their tokens (risks, groups) is in their annotations.
   */
  compute(
    values: Tensor,
    rows: readonly TrainingRow[],
  ): { readonly loss: Tensor; readonly metrics: Readonly<Record<string, Tensor>> };
}

const linearLosses = new WeakMap<Readout<Tensor>, Map<number, Loss>>();

/** Σ g · value: it has the gradient of a loss with ∂L/∂value = g. */
function linearLoss(readout: Readout<Tensor>, groupSize: number): Loss {
  const known = linearLosses.get(readout) ?? new Map<number, Loss>();
  linearLosses.set(readout, known);
  const loss: Loss = known.get(groupSize) ?? {
    name: `linear(${readout.name})`,
    annotations: [{ name: GRADIENT, per: 'row' }, ...(readout.annotations ?? [])],
    groupSize,
    ...(readout.wholeRow && { wholeRow: true }),
    computeFrom: (read, { annotations }) => ({ loss: weightedSum(read(readout), annotations[GRADIENT]!), metrics: {} }),
  };
  known.set(groupSize, loss);
  return loss;
}

/** A coupled loss of all rows of a step, its metrics, and ∂L/∂value of every row. */
async function measured<M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  { name, readout, groupSize = 1, compute }: CoupledLoss,
): Promise<{ readonly result: ForwardBackwardResult; readonly slopes: readonly number[] }> {
  const read = await trainer.read(rows, readout, { groupSize });
  const values = tensor(
    Float32Array.from(read, (row) => row[0]!),
    [rows.length],
  );
  const { value, gradient } = valueAndGrad((x: Tensor) => {
    const { loss, metrics } = checkedResult(name, compute(x, rows));
    return [loss, metrics] as const;
  })(values);
  const [loss, metrics] = value;
  await realize([loss, gradient, ...Object.values(metrics)], { engine: trainer.model.network.engine });
  const numbers = await Promise.all(Object.entries(metrics).map(async ([name, x]) => [name, await x.item()] as const));
  const tokens = rows.reduce((sum, row) => sum + row.tokens.length, 0);
  const result = { loss: await loss.item(), metrics: Object.fromEntries(numbers), tokens };
  return { result, slopes: await gradient.toArray() };
}

/**
 * Accumulates the gradients of a coupled loss over all rows of a step, in two passes: the numbers of all rows first, then
 * Σ ∂L/∂value · value over micro-batches, which has the same gradient. It costs one more forward pass.
 *
 * @throws what `Trainer.forwardBackward` throws
 */
export async function forwardBackwardCoupled<M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  loss: CoupledLoss,
): Promise<ForwardBackwardResult> {
  const { result, slopes } = await measured(trainer, rows, loss);
  const annotated = rows.map((row, i) => ({ ...row, annotations: { ...row.annotations, [GRADIENT]: [slopes[i]!] } }));
  await trainer.forwardBackward(annotated, linearLoss(loss.readout, loss.groupSize ?? 1));
  return result;
}

/** Loss and metrics of a coupled loss under the parameters as they are now; nothing is added. For adapters without dropout. */
export const evaluateCoupled = async <M extends TrainableModel>(
  trainer: Trainer<M>,
  rows: readonly TrainingRow[],
  loss: CoupledLoss,
): Promise<ForwardBackwardResult> => (await measured(trainer, rows, loss)).result;
