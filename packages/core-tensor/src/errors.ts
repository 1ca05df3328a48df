import { PosttrainError } from '@posttrain/interfaces';
import type { DType } from './dtype.js';
import { showShape } from './show-shape.js';

/** Shapes that do not fit an operation. The message names the operation and every shape. */
export class ShapeError extends PosttrainError {
  constructor(op: string, shapes: readonly (readonly number[])[], why: string) {
    super('SHAPE', `${op}: ${why} (${shapes.length === 1 ? 'shape' : 'shapes'} ${shapes.map(showShape).join(', ')})`);
  }
}

/** Element types that do not fit an operation. The message names the operation and every type. */
export class DTypeError extends PosttrainError {
  constructor(op: string, dtypes: readonly DType[], why: string) {
    super('DTYPE', `${op}: ${why} (${dtypes.length === 1 ? 'dtype' : 'dtypes'} ${dtypes.join(', ')})`);
  }
}

/** An option of a kernel that makes no sense. The message names the kernel and the option. */
export class KernelOptionError extends PosttrainError {
  constructor(kernel: string, message: string) {
    super('KERNEL_OPTION', `${kernel}: ${message}`);
  }
}

/** A tensor used after it was donated to a compiled function, or disposed of. */
export class DonatedTensorError extends PosttrainError {
  constructor(where: string, how: 'donated' | 'disposed') {
    super(
      'DONATED',
      how === 'disposed'
        ? `${where}: this tensor was disposed of. Call dispose() after the last use, or not at all.`
        : `${where}: this tensor was donated to a compiled function and its memory now holds that function's output. ` +
            'Use the returned tensor instead.',
    );
  }
}

/** Something asked of automatic differentiation that has no derivative. */
export class AutodiffError extends PosttrainError {
  constructor(message: string) {
    super('AUTODIFF', message);
  }
}

/** A compiled function used in a way its contract forbids. */
export class CompileError extends PosttrainError {
  constructor(message: string) {
    super('COMPILE', message);
  }
}

/** An engine that cannot start, or that failed while it ran. */
export class EngineError extends PosttrainError {
  constructor(engine: string, message: string, options?: ErrorOptions) {
    super('ENGINE', `${engine}: ${message}`, options);
  }
}
