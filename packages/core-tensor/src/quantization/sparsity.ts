import { custom, number, OptionError } from '@posttrain/interfaces';
import { QuantizationError } from './quantized-weight.js';

const isCount = (n: unknown) => Number.isInteger(n) && (n as number) >= 1;
const isPattern = (value: unknown) =>
  Array.isArray(value) && value.length === 2 && value.every(isCount) && value[0] < value[1];

/** How much of a weight becomes zero, as options: one of the two. */
export const sparsityShape = {
  sparsity: number({ optional: true, min: 0, below: 1 }),
  pattern: custom<readonly [zeros: number, of: number]>()(
    'two whole numbers, the first from 1 to less than the second',
    isPattern,
    { optional: true },
  ),
};

/** How much of a weight becomes zero. */
export type Sparsity =
  | {
      /** The part of the weights that becomes zero, from 0 up to but not including 1. */
      readonly sparsity: number;
    }
  | {
      /** `[2, 4]`: of every 4 consecutive weights of a row 2 become zero. */
      readonly pattern: readonly [zeros: number, of: number];
    };

interface ReadSparsity {
  readonly sparsity?: number | undefined;
  readonly pattern?: readonly [zeros: number, of: number] | undefined;
}

/**
 * The columns that are ranked together (`whole` without a pattern), and how many of a number of candidates become zero.
 *
 * @throws OptionError for both or none, QuantizationError for rows that a pattern does not fit
 */
export function zerosOf(what: string, { sparsity, pattern }: ReadSparsity, columns: number, whole: number) {
  if (pattern !== undefined) {
    const [zeros, of] = pattern;
    if (sparsity !== undefined) {
      throw new OptionError('INVALID_OPTION', what, 'pattern', 'give sparsity or a pattern, not both.');
    }
    if (columns % of !== 0) {
      throw new QuantizationError(what, `pattern [${zeros}, ${of}] does not fit rows of ${columns}`);
    }
    return { blockSize: of, zeros: () => zeros };
  }
  if (sparsity === undefined) {
    throw new OptionError('MISSING_OPTION', what, 'sparsity', 'sparsity is missing, or a pattern.');
  }
  return { blockSize: whole, zeros: (candidates: number) => Math.floor(candidates * sparsity) };
}
