import { ShapeError } from '../errors.js';
import { sameShape } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkIndices } from './check.js';
import type { Kernel } from './kernel.js';

/**
 * Inputs x [n, …], rows int32 [m] and values [m, …]; output: x with those rows replaced. Of a row that is named twice either
 * value may win. Written over x where x is donated.
 */
export const putRowsKernel: Kernel<Record<string, never>> = {
  name: 'putRows',
  infer: ([x, rows, values]) => {
    checkIndices('putRows', rows!, 'rows');
    const shapes = [x!.shape, rows!.shape, values!.shape];
    const fits =
      x!.shape.length >= 1 &&
      rows!.shape.length === 1 &&
      sameShape(values!.shape, [...rows!.shape, ...x!.shape.slice(1)]) &&
      values!.dtype === x!.dtype;
    if (!fits) throw new ShapeError('putRows', shapes, 'needs x [n, …], rows [m] and values [m, …] of the type of x');
    return [x!];
  },
  decompose: ([x, rows, values]) => {
    const { shape } = values!;
    const at = rows!.reshape([shape[0]!, ...shape.slice(1).map(() => 1)]).broadcastTo(shape);
    return [x!.putAlongAxis(at, values!, 0)];
  },
};

/** See `putRowsKernel`. */
export const putRows = (x: Tensor, rows: Tensor, values: Tensor): Tensor =>
  applyKernel(putRowsKernel, [x, rows, values], {})[0]!;
