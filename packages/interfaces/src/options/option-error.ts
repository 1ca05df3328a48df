import { PosttrainError } from '../errors.js';

/** An option that is unknown, missing, or has a value that cannot be right. */
export class OptionError extends PosttrainError {
  /** The function or method that the options were given to. */
  readonly where: string;
  readonly option: string;

  constructor(
    code: 'UNKNOWN_OPTION' | 'MISSING_OPTION' | 'INVALID_OPTION',
    where: string,
    option: string,
    message: string,
  ) {
    super(code, `${where}: ${message}`);
    this.where = where;
    this.option = option;
  }
}

/**
 * Throws for an argument of the wrong type: a caller without a type checker has given a path for a model, or
 * has swapped two arguments. `expects` is what it must be, in words.
 *
 * @throws OptionError
 */
export function assertArgument(where: string, name: string, value: unknown, isValid: boolean, expects: string): void {
  if (isValid) return;
  throw new OptionError('INVALID_OPTION', where, name, `${name} is ${showValue(value)}; it must be ${expects}.`);
}

/**
 * Throws for what can be no path: one that was not given, an empty text (a variable that was not set), a URL, a promise.
 *
 * @throws OptionError
 */
export function assertPath(where: string, name: string, value: unknown): asserts value is string {
  const hint =
    value instanceof URL
      ? ' (fileURLToPath of node:url makes one)'
      : value instanceof Promise
        ? ' (await it first)'
        : '';
  const isValid = typeof value === 'string' && value !== '' && !value.includes('\0');
  assertArgument(where, name, value, isValid, `a path: a text that is not empty${hint}`);
}

/** Lists in lists that are shown. Deeper ones, and what contains itself (an alias of YAML), would have no end. */
const MOST_DEPTH = 3;

/** A value as error messages show it: short, on one line, and telling NaN from null and 1 from "1". */
export const showValue = (value: unknown): string => shown(value, 0);

function shown(value: unknown, depth: number): string {
  if (typeof value === 'string') return cut(JSON.stringify(value));
  if (Object.is(value, -0)) return '-0';
  if (typeof value === 'bigint') return cut(`${value}n`);
  if (typeof value === 'function') return `the function ${value.name || '(without a name)'}`;
  if (typeof value !== 'object' || value === null) return cut(String(value));
  if (Array.isArray(value)) {
    if (depth === MOST_DEPTH && value.length > 0) return '[…]';
    const first = value.slice(0, 8).map((one) => shown(one, depth + 1));
    return cut(`[${first.join(', ')}${value.length > 8 ? ', …' : ''}]`);
  }
  const name = Object.getPrototypeOf(value)?.constructor?.name;
  if (name !== undefined && name !== 'Object') return `a ${name}`;
  return `an object with ${cut(Object.keys(value).join(', ')) || 'no keys'}`;
}

const cut = (text: string): string => (text.length > 80 ? `${text.slice(0, 77)}…` : text);
