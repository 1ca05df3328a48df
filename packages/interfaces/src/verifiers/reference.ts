import { VerifierInputError } from './errors.js';

/**
 * A column of a request's row.
 * @throws VerifierInputError naming the columns there are
 */
export function columnOf(
  where: string,
  column: string,
  row: Readonly<Record<string, unknown>> | undefined,
  hint = '',
): unknown {
  if (row === undefined) {
    throw new VerifierInputError(`${where}: a request has no row, so there is no target to compare with.`);
  }
  const value = row[column];
  if (value !== undefined) return value;
  const there = Object.keys(row).join(', ') || 'no columns';
  throw new VerifierInputError(`${where} needs the column "${column}", but the row has ${there}${hint}`);
}
