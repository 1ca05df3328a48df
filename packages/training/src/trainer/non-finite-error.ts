import { describeNonFinite, type NonFinite } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';

/** A loss or gradient that is NaN or infinite. Nothing has been updated, and the run can go on. */
export class NonFiniteError extends PosttrainError {
  /** The first tensor that went wrong; undefined when the same computation, repeated, was finite. */
  readonly found: NonFinite | undefined;

  constructor(what: string, value: number, step: number, found: NonFinite | undefined) {
    const where = found ? `first, ${describeNonFinite(found)}` : 'computed once more, everything was finite';
    super(
      'NON_FINITE',
      `step ${step}: ${what} is ${value}; ${where}. The weights have not been changed, nor has the optimizer's state. ` +
        'Lower the learning rate, or leave out the rows of this step.',
    );
    this.found = found;
  }
}
