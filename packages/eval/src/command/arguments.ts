import { parseArgs } from 'node:util';
import { nearestName, PosttrainError } from '@posttrain/interfaces';

/** What was typed cannot be meant. */
export class ArgumentsError extends PosttrainError {
  constructor(problem: string) {
    super('ARGUMENTS', problem);
  }
}

/** An option of a command: how it is typed, and what it means; both the reader and `--help` come from here. */
export interface CommandOption {
  /** What its value is called; a switch has none. */
  readonly value?: string;
  readonly help: string;
  readonly multiple?: true;
}

/** A command. */
export interface Command {
  readonly usage: string;
  readonly about: string;
  readonly options: Readonly<Record<string, CommandOption>>;
}

/** What was typed after a command. */
export interface Typed {
  readonly positionals: readonly string[];
  /** The text of an option; `undefined` where it was not given. */
  text(name: string): string | undefined;
  texts(name: string): readonly string[];
  has(name: string): boolean;
  /** @throws ArgumentsError for what is no whole number of at least `least` */
  whole(name: string, least: number): number | undefined;
  /** @throws ArgumentsError for what is no number of at least 0 */
  amount(name: string): number | undefined;
}

/** @throws ArgumentsError for an option that the command does not have, naming the nearest */
export function readArguments(command: Command, given: readonly string[]): Typed {
  const names = [...Object.keys(command.options), 'help'];
  const options = Object.fromEntries(
    names.map((name) => {
      const { value, multiple = false } = command.options[name] ?? { help: '' };
      return [name, { type: value === undefined ? ('boolean' as const) : ('string' as const), multiple }];
    }),
  );
  let parsed: { values: Readonly<Record<string, unknown>>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...given], options, allowPositionals: true });
  } catch (error) {
    const { message } = error as Error;
    const unknown = /^Unknown option '--([\w-]+)/.exec(message)?.[1];
    const near = unknown === undefined ? undefined : nearestName(unknown, names);
    throw new ArgumentsError(
      unknown === undefined ? message : `there is no option --${unknown}.${near ? ` Did you mean --${near}?` : ''}`,
    );
  }
  const { values, positionals } = parsed;
  const text = (name: string): string | undefined => values[name] as string | undefined;
  const number = (name: string, isGood: (x: number) => boolean, what: string): number | undefined => {
    const typed = text(name);
    if (typed === undefined) return undefined;
    if (typed.trim() !== '' && isGood(Number(typed))) return Number(typed);
    throw new ArgumentsError(`--${name} takes ${what}, not "${typed}".`);
  };
  return {
    positionals,
    text,
    texts: (name) => [(values[name] as string | string[] | undefined) ?? []].flat(),
    has: (name) => values[name] === true,
    whole: (name, least) =>
      number(name, (x) => Number.isSafeInteger(x) && x >= least, `a whole number of at least ${least}`),
    amount: (name) => number(name, (x) => Number.isFinite(x) && x >= 0, 'a number of at least 0'),
  };
}

/** The help of one command. */
export function helpOf({ usage, about, options }: Command): string {
  const typed = (name: string, { value }: CommandOption): string =>
    `  --${name}${value === undefined ? '' : ` ${value}`}`;
  const all = Object.entries({ ...options, help: { help: 'this text' } });
  const width = Math.max(...all.map(([name, option]) => typed(name, option).length)) + 2;
  const lines = all.map(([name, option]) => `${typed(name, option).padEnd(width)}${option.help}`);
  return `Usage: posttrain-eval ${usage}\n\n${about}\n\n${lines.join('\n')}\n`;
}
