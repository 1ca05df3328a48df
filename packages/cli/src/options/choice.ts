import { nearestName, OptionError } from '@posttrain/interfaces';
import { CommandLineError } from './command-line-error.js';
import { camelCase, camelKeys, isRecord, kebabCase } from './names.js';

/** What is made from a name and options: a loss, an adapter, a reward. */
export interface Choice {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/**
 * A value as a choice among names: a name, or `{ name, ...options }`. Names are taken as they are listed, and in kebab case.
 *
 * @param fallback the name where options are given and no name
 * @throws CommandLineError for a name that is not listed, naming the nearest
 */
export function choiceOf(where: string, value: unknown, names: readonly string[], fallback?: string): Choice {
  const { name = fallback, ...options } = isRecord(value) ? value : { name: value };
  const meant = names.find((one) => one === name || spelling(one) === spelling(String(name)));
  if (typeof name !== 'string' || meant === undefined) {
    const near = typeof name === 'string' ? nearestName(name, names) : undefined;
    const hint = near === undefined ? '' : ` Did you mean "${near}"?`;
    const shown = name === undefined ? 'it has no name' : `there is no ${JSON.stringify(name)}`;
    throw new CommandLineError(`${where}: ${shown}.${hint} There is ${names.map(kebabCase).join(', ')}.`);
  }
  return { name: meant, options: camelKeys(options) as Choice['options'] };
}

const spelling = (name: string): string => camelCase(kebabCase(name)).toLowerCase();

/** Makes what was chosen; an option that it does not take is named as it was typed. @throws CommandLineError */
export function made<T>(where: string, { name, options }: Choice, make: (options: never) => T): T {
  try {
    return make(options as never);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    throw new CommandLineError(`${where} ${name}: ${error.message.replace(/^[^:]*: /, '')}`);
  }
}
