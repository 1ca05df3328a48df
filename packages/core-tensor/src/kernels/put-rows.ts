import { ShapeError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkIndices } from './check.js';
import type { Kernel } from './kernel.js';

/**
 * Inputs x [n, d], rows int32 [m] and values [m, d]; output: x with those rows replaced. Of a row that is named twice either
 * value may win. Written over x where x is donated.
 */
export const putRowsKernel: Kernel<Record<string, never>> = {
  name: 'putRows',
  infer: ([x, rows, values]) => {
    checkIndices('putRows', rows!, 'rows');
    const shapes = [x!.shape, rows!.shape, values!.shape];
    const fits =
      shapes.map((shape) => shape.length).join() === '2,1,2' &&
      values!.shape[0] === rows!.shape[0] &&
      values!.shape[1] === x!.shape[1] &&
      values!.dtype === x!.dtype;
    if (!fits) throw new ShapeError('putRows', shapes, 'needs x [n, d], rows [m] and values [m, d] of the type of x');
    return [x!];
  },
  decompose: ([x, rows, values]) => {
    const [m, d] = values!.shape as [number, number];
    return [x!.putAlongAxis(rows!.reshape([m, 1]).broadcastTo([m, d]), values!, 0)];
  },
};

/** See `putRowsKernel`. */
export const putRows = (x: Tensor, rows: Tensor, values: Tensor): Tensor =>
  applyKernel(putRowsKernel, [x, rows, values], {})[0]!;
