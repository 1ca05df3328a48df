import type { Given, OptionShape, Options, Read } from '@posttrain/interfaces';
import type { CommandContext } from '../command.js';
import { asCommandLineError, commandLine, merged } from '../options/command-line.js';
import { CommandLineError } from '../options/command-line-error.js';
import { readConfigFile } from '../options/config-file.js';
import { DESCRIPTIONS } from '../options/descriptions.js';
import { optionsHelp } from '../options/help.js';
import { kebabCase } from '../options/names.js';
import { ownOptions } from '../trl/recognize.js';

/** A command whose options are all declared here. */
export interface DeclaredCommand<S extends OptionShape> {
  readonly name: string;
  readonly usage: string;
  readonly about: string;
  readonly declared: Options<S>;
  /** Options that are given by their place. */
  readonly positionals: readonly (keyof S & string)[];
  run(options: Read<Options<S>>, context: CommandContext): Promise<number>;
}

/** Reads what was typed, and runs the command. Gives the exit code. @throws CommandLineError */
export async function runDeclared<S extends OptionShape>(
  { name, usage, about, declared, positionals: places, run }: DeclaredCommand<S>,
  args: readonly string[],
  context: CommandContext,
): Promise<number> {
  if (args.includes('--help')) {
    const width = Math.min(100, process.stdout.columns ?? 100);
    const sections = [{ title: 'Options', shape: declared.shape, about: DESCRIPTIONS[`${name}-command`] ?? {} }];
    context.print(`Usage: posttrain ${name} ${usage}\n\n${about}\n\n${optionsHelp(sections, width)}`);
    return 0;
  }
  const { positionals, given } = commandLine(declared, args);
  if (positionals.length > places.length) {
    throw new CommandLineError(`${JSON.stringify(positionals[places.length])} is too much: posttrain ${name} ${usage}`);
  }
  const placed = Object.fromEntries(positionals.map((value, i) => [places[i]!, value]));
  const twice = Object.keys(placed).find((one) => Object.hasOwn(given, one));
  if (twice) throw new CommandLineError(`${twice} is given twice, by its place and as --${kebabCase(twice)}.`);
  const { config, ...typed } = { ...placed, ...given } as Readonly<Record<string, unknown>>;
  const file = typeof config === 'string' ? ownOptions(declared, await readConfigFile(config)) : {};
  let options: Read<Options<S>>;
  try {
    options = declared.read(merged(file, typed) as Given<Options<S>>) as Read<Options<S>>;
  } catch (error) {
    throw asCommandLineError(error);
  }
  return run(options, context);
}
