import { showValue } from '../options/option-error.js';
import { VerifierInputError } from './errors.js';
import { columnOf } from './reference.js';

/** The reference of a row as one or more texts. @throws VerifierInputError where there is none */
export function referenceTexts(
  where: string,
  column: string,
  row: Readonly<Record<string, unknown>> | undefined,
): readonly string[] {
  const value = [columnOf(where, column, row)].flat();
  const isText = (one: unknown) => typeof one === 'string' || (typeof one === 'number' && Number.isFinite(one));
  if (value.length > 0 && value.every(isText)) return value.map(String);
  const problem = `the column "${column}" is ${showValue(row?.[column])}; it must be a text, a number, or a list of these.`;
  throw new VerifierInputError(`${where}: ${problem}`);
}
