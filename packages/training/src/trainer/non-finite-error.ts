import { describeNonFinite, type NonFinite } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';

/** A number that is NaN or infinite: a loss, a gradient, or a trained tensor. */
export class NonFiniteError extends PosttrainError {
  /** The first tensor that went wrong; undefined when it is not known. */
  readonly found: NonFinite | undefined;

  private constructor(message: string, found?: NonFinite) {
    super('NON_FINITE', message);
    this.found = found;
  }

  /** A loss or gradient. Nothing has been updated, and the run can go on. */
  static ofStep(what: string, value: number, step: number, found: NonFinite | undefined): NonFiniteError {
    const where = found ? `first, ${describeNonFinite(found)}` : 'computed once more, everything was finite';
    return new NonFiniteError(
      `step ${step}: ${what} is ${value}; ${where}. The weights have not been changed, nor has the optimizer's state. ` +
        'Lower the learning rate, or leave out the rows of this step.',
      found,
    );
  }

  /** A tensor that a run would start from. */
  static ofStart(name: string, value: number): NonFiniteError {
    return new NonFiniteError(
      `${name} has the value ${value}, so everything computed with it would be lost. Load the weights again, or start from ` +
        'an earlier checkpoint.',
    );
  }

  /** A tensor that a run ended with. */
  static ofEnd(name: string, value: number): NonFiniteError {
    return new NonFiniteError(
      `the run ended with the value ${value} in ${name}. Run it again with a lower learning rate.`,
    );
  }

  /** A tensor that a checkpoint would keep. */
  static ofCheckpoint(folder: string, name: string, value: number): NonFiniteError {
    return new NonFiniteError(
      `${folder}: not written, because ${name} has the value ${value}. Earlier checkpoints are as they were: resume from ` +
        'one with a lower learning rate (allowChanged: ["learningRate"]).',
    );
  }
}
