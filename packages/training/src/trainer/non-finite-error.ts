import { describeNonFinite, type NonFinite } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
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

  /** A loss of heads beside a frozen model, which have no checkpoints. */
  static ofHeads(where: string, step: number, value: number): NonFiniteError {
    return new NonFiniteError(
      `${where}, step ${step}: the loss is ${value}, and the heads would be lost. Lower the learning rate, or leave out the rows of this step.`,
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

/** Finiteness check of the weights that a run starts from and ends with: later it would be noticed too late. */
export async function refuseNonFinite(tensors: Named, errorOf = NonFiniteError.ofStart): Promise<void> {
  for (const [name, tensor] of Object.entries(tensors)) {
    const data = await tensor.data();
    // Of 16-bit floats these are their bits.
    if (!(data instanceof Float32Array || data instanceof Float64Array)) continue;
    const at = data.findIndex((value) => !Number.isFinite(value));
    if (at >= 0) throw errorOf(name, Number(data[at]));
  }
}
