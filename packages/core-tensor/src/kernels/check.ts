import { DTypeError } from '../errors.js';
import type { TensorSpec } from '../graph/node.js';

/** The float inputs of a kernel must have one dtype, and one that can be computed with. */
export function checkFloats(name: string, ...inputs: readonly TensorSpec[]): void {
  const dtypes = inputs.map(({ dtype }) => dtype);
  const [first] = dtypes;
  if ((first === 'float32' || first === 'float16') && dtypes.every((dtype) => dtype === first)) return;
  throw new DTypeError(name, dtypes, 'needs float32 or float16, the same for all');
}

/** Positions, lengths and token ids are int32. */
export function checkIndices(name: string, { dtype }: TensorSpec, what: string): void {
  if (dtype !== 'int32') throw new DTypeError(name, [dtype], `needs int32 ${what}`);
}
