import {
  type Given,
  type HasSettings,
  integer,
  oneOf,
  options,
  showValue,
  text,
  type Verifier,
} from '@posttrain/interfaces';
import { columnOf, ruleVerifier, VerifierInputError } from '@posttrain/interfaces/verifiers';
import { tokensOf } from './tokens.js';

const lengthTargetOptions = options('lengthTarget', {
  /** Column with the tokens that a row asks for. Default `max_length`. */
  column: text({ default: 'max_length' }),
  /** Tokens off the target that cost all of the reward. Default 32768. */
  scale: integer({ default: 32_768, min: 1 }),
  /** Every token off the target costs (`near`), or only those above it (`upTo`). Default `upTo`. */
  mode: oneOf(['near', 'upTo'], { default: 'upTo' }),
});
/** Options of `lengthTarget`. */
export type LengthTargetOptions = Given<typeof lengthTargetOptions>;

/**
 * A reward for the length that a row asks for (open-instruct's `max_length` and `up_to_max_length`), of a completion of n tokens:
 *
 *   near:  1 − |n − target| / scale,    upTo:  1 − max(0, n − target) / scale
 *
 * @throws OptionError; VerifierInputError for a row without a target, or without token ids
 */
export function lengthTarget(given: LengthTargetOptions = {}): Verifier & HasSettings {
  const { column, scale, mode } = lengthTargetOptions.read(given);
  return ruleVerifier('lengthTarget', lengthTargetOptions.settings(given), (request) => {
    const value = columnOf('lengthTarget', column, request.row);
    const target = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    if (typeof target !== 'number' || !(Number.isFinite(target) && target >= 0)) {
      const problem = `the column "${column}" is ${showValue(value)}; it must be a number of tokens, at least 0.`;
      throw new VerifierInputError(`lengthTarget: ${problem}`);
    }
    const over = tokensOf('lengthTarget', request) - target;
    return 1 - (mode === 'near' ? Math.abs(over) : Math.max(0, over)) / scale;
  });
}
