import { answersEqual } from '@posttrain/interfaces/answers';

/** Whether an answer is this number, however it is written. */
export const isNumber = (answer: string, value: number | bigint | string): boolean =>
  answersEqual(answer, String(value));

/** The whole numbers of a list, however it is separated and bracketed; `null` where something else is in it. */
export function integersOf(answer: string): number[] | null {
  const parts = answer
    .replaceAll(/[[\]()]/g, ' ')
    .split(/[\s,]+/)
    .filter((part) => part !== '');
  return parts.every((part) => /^[-+]?\d{1,15}$/.test(part)) ? parts.map(Number) : null;
}

/** The words of a list: between commas, without white space and quotes. */
export const wordsOf = (answer: string): string[] =>
  answer
    .replaceAll(/["'[\]]/g, '')
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');

/** A grid of whole numbers, a row a line; `null` where something else is in it. */
export function gridOf(answer: string): number[][] | null {
  const rows = answer
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map(integersOf);
  return rows.every((row) => row !== null) ? rows : null;
}

export const gridText = (grid: readonly (readonly (number | string)[])[]): string =>
  grid.map((row) => row.join(' ')).join('\n');

/** The share of places where two lists agree; 0 for lists of other lengths. */
export function shareEqual(some: readonly unknown[] | null, others: readonly unknown[]): number {
  if (some === null || some.length !== others.length || others.length === 0) return 0;
  return some.filter((one, i) => one === others[i]).length / others.length;
}

/** JSON, or `undefined` where it is none. */
export function jsonOf(answer: string): unknown {
  try {
    return JSON.parse(answer) as unknown;
  } catch {
    return undefined;
  }
}

export const yesNo = (value: boolean): string => (value ? 'Yes' : 'No');

/** Whether an answer is that yes or no, in any case of letters, True and False as well. */
export const isYesNo = (answer: string, value: boolean): boolean =>
  (value ? /^(yes|true)\.?$/i : /^(no|false)\.?$/i).test(answer);

/** `count` numbers from `low` to `high`. */
export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
