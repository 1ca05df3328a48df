import { Tensor } from '@posttrain/core-tensor';
import { PosttrainError, showValue } from '@posttrain/interfaces';
import type { LossResult } from './loss.js';

/** A loss that gives something else than `{ loss, metrics }`. */
export class LossResultError extends PosttrainError {
  constructor(loss: string, problem: string) {
    super('LOSS_RESULT', `the loss ${loss} ${problem}`);
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !(value instanceof Tensor);

/** Refuses what is no tensor of one number. */
function checkScalar(name: string, what: string, value: unknown): void {
  if (!(value instanceof Tensor)) throw new LossResultError(name, `gave ${showValue(value)} as ${what}, and no tensor`);
  if (value.shape.every((size) => size === 1)) return;
  const problem = `gave ${what} of shape [${value.shape.join(', ')}]; it must be a scalar, as a weighted sum is`;
  throw new LossResultError(name, problem);
}

/** The result of a loss, where it is one. @throws LossResultError naming the loss */
export function checkedResult(name: string, result: unknown): LossResult {
  if (!isRecord(result)) {
    const gave = result instanceof Tensor ? 'a tensor alone' : showValue(result);
    throw new LossResultError(name, `gave ${gave}; it must give { loss, metrics }`);
  }
  checkScalar(name, 'loss', result.loss);
  if (!isRecord(result.metrics)) {
    throw new LossResultError(name, `gave ${showValue(result.metrics)} as metrics; without any it must give {}`);
  }
  for (const [metric, value] of Object.entries(result.metrics)) checkScalar(name, `the metric ${metric}`, value);
  return result as unknown as LossResult;
}
