/** A preference with its prompt apart. */
export interface ExplicitPreference<T> {
  readonly prompt: T;
  readonly chosen: T;
  readonly rejected: T;
}

/**
 * TRL's `extract_prompt`: makes the prompt of a preference explicit, which is the longest common prefix of `chosen` and
 * `rejected`, by messages or by code points; a space before the difference goes to the completions. The prompt is empty
 * where they differ at once.
 *
 * Where one of the two is the start of the other (or the same) nothing would be left to prefer, and TRL returns an
 * arbitrary cut: the name of that one is returned.
 */
export function extractPreferencePrompt<T extends string | readonly unknown[]>(
  chosen: T,
  rejected: T,
): ExplicitPreference<T> | 'chosen' | 'rejected' {
  const isText = typeof chosen === 'string';
  const [a, b] = [Array.from<unknown>(chosen), Array.from<unknown>(rejected)];
  const shorter = Math.min(a.length, b.length);
  let cut = 0;
  while (cut < shorter && sameJson(a[cut], b[cut])) cut++;
  if (cut === shorter) return a.length <= b.length ? 'chosen' : 'rejected';
  if (isText && cut > 0 && a[cut - 1] === ' ') cut--;
  const part = (items: readonly unknown[], start: number, end?: number): T => {
    const slice = items.slice(start, end);
    return (isText ? slice.join('') : slice) as T;
  };
  return { prompt: part(a, 0, cut), chosen: part(a, cut), rejected: part(b, cut) };
}

/** Whether two values are the same as JSON: objects whatever the order of their keys, NaN as NaN. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => sameJson(item, b[i]));
  if (!isPlainObject(a) || !isPlainObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
  );
}

/** Whether a value is an object with no class of its own, as JSON makes them. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
