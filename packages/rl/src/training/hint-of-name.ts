/** A sentence for somebody who has given the name of a value of a record in its place: the call that makes it. */
export const hintOfName = (value: unknown, record: string, values: object): string | undefined =>
  typeof value === 'string' && Object.hasOwn(values, value) ? `Write ${record}.${value}().` : undefined;
