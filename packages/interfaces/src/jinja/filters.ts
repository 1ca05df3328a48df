import type { Filter } from './filter.js';
import { SEQUENCE_FILTERS } from './filters-sequence.js';
import { TEXT_FILTERS } from './filters-text.js';
import { VALUE_FILTERS } from './filters-value.js';
import { TESTS, type Test } from './tests.js';

let all: ReadonlyMap<string, Filter> | undefined;

/** The filter of that name; undefined when Jinja2 has none. */
export function filterNamed(name: string): Filter | undefined {
  all ??= new Map(Object.entries({ ...TEXT_FILTERS, ...SEQUENCE_FILTERS, ...VALUE_FILTERS }));
  return all.get(name);
}

/** The test of that name; undefined when Jinja2 has none. */
export const testNamed = (name: string): Test | undefined => (Object.hasOwn(TESTS, name) ? TESTS[name] : undefined);
