import { assertArgument } from '@posttrain/interfaces';

const hasMethod = (value: unknown, method: string): boolean =>
  typeof value === 'object' && value !== null && typeof (value as Record<string, unknown>)[method] === 'function';

/** @throws OptionError for a model itself, a promise of a generator, and whatever else is none */
export function assertGenerator(where: string, value: unknown): void {
  const hint = hasMethod(value, 'generator')
    ? ' (model.generator() gives one)'
    : value instanceof Promise
      ? ' (await it first)'
      : '';
  assertArgument(where, 'generator', value, hasMethod(value, 'generate'), `an object with generate(requests)${hint}`);
}

/** @throws OptionError for the result of a search in the place of its trace, and whatever else is no trace */
export function assertTrace(where: string, value: unknown): void {
  const isTrace = typeof value === 'object' && value !== null && Array.isArray((value as { nodes?: unknown }).nodes);
  const hint = typeof value === 'object' && value !== null && 'trace' in value ? ' (result.trace)' : '';
  assertArgument(where, 'trace', value, isTrace, `the trace of a search${hint}`);
}

/** @throws OptionError for a function, and whatever else is no verifier */
export function assertVerifier(where: string, value: unknown, option = 'verifier'): void {
  const name = typeof value === 'function' && value.name !== '' ? value.name : 'mine';
  const hint = typeof value === 'function' ? ` (functionVerifier('${name}', ${name}) makes one of a function)` : '';
  assertArgument(where, option, value, hasMethod(value, 'verify'), `an object with verify(requests)${hint}`);
}
