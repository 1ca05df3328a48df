import { assertArgument } from '@posttrain/interfaces';

export const hasMethod = (value: unknown, method: string): boolean =>
  typeof value === 'object' && value !== null && typeof (value as Record<string, unknown>)[method] === 'function';

/** @throws OptionError for the result of a search in the place of its trace, and whatever else is no trace */
export function assertTrace(where: string, value: unknown): void {
  const isTrace = typeof value === 'object' && value !== null && Array.isArray((value as { nodes?: unknown }).nodes);
  const hint = typeof value === 'object' && value !== null && 'trace' in value ? ' (result.trace)' : '';
  assertArgument(where, 'trace', value, isTrace, `the trace of a search${hint}`);
}
