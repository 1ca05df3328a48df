import { fail } from './errors.js';
import type { Filter } from './filter.js';
import { SEQUENCE_FILTERS } from './filters-sequence.js';
import { TEXT_FILTERS } from './filters-text.js';
import { VALUE_FILTERS } from './filters-value.js';
import type { Run } from './run.js';
import { TESTS } from './tests.js';
import type { Arguments, NamedArguments, Value } from './values.js';

let all: ReadonlyMap<string, Filter> | undefined;

/** The filter of that name; undefined when Jinja2 has none. */
export function filterNamed(name: string): Filter | undefined {
  all ??= new Map(Object.entries({ ...TEXT_FILTERS, ...SEQUENCE_FILTERS, ...VALUE_FILTERS }));
  return all.get(name);
}

export const testNamed = (name: string) => (Object.hasOwn(TESTS, name) ? TESTS[name] : undefined);

export function callFilter(run: Run, name: string, value: Value, args: Arguments, named: NamedArguments): Value {
  const found = filterNamed(name) ?? fail(`No filter named '${name}'.`);
  return found(run, value, args, named);
}

export function callTest(run: Run, name: string, value: Value, args: Arguments, named: NamedArguments): boolean {
  const found = testNamed(name) ?? fail(`No test named '${name}'.`);
  return found(run, value, args, named);
}
