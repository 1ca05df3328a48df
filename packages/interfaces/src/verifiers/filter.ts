/** One step from a completion to the answer in it: `null` when there is none. */
export interface Filter {
  readonly name: string;
  apply(text: string): string | null;
}

/** Runs `text` through `filters` in order; `null` as soon as one finds nothing. */
export function applyFilters(
  filters: readonly (Filter | ((text: string) => string | null))[],
  text: string,
): string | null {
  let current: string | null = text;
  for (const filter of filters) {
    if (current === null) return null;
    current = typeof filter === 'function' ? filter(current) : filter.apply(current);
  }
  return current;
}
