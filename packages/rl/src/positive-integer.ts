import { PosttrainError, showValue } from '@posttrain/interfaces';

/** `value` when it is an integer of at least 1. */
export function positiveInteger(what: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new PosttrainError('OPTION', `${what} must be a positive integer, not ${showValue(value)}`);
}
