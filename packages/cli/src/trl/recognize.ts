import { type AnyOptions, unknownOption } from '../options/command-line.js';
import { CommandLineError } from '../options/command-line-error.js';
import { camelCase, kebabCase } from '../options/names.js';

/** Whether a file of options is TRL's: one of its names is in Python's spelling. */
export const isTrl = (file: Readonly<Record<string, unknown>>): boolean =>
  Object.keys(file).some((name) => name.includes('_'));

/** The options of a file of ours, by their declared names. @throws CommandLineError for a name that is not declared */
export function ownOptions(
  declared: AnyOptions,
  file: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const seen = new Set<string>();
  return Object.fromEntries(
    Object.entries(file).map(([name, value]) => {
      const own = camelCase(name);
      if (seen.size === seen.add(own).size)
        throw new CommandLineError(`--config: ${kebabCase(own)} is given twice, in two spellings.`);
      if (Object.hasOwn(declared.shape, own) && own !== 'config') return [own, value];
      throw new CommandLineError(`--config: ${unknownOption(declared, kebabCase(name))}`);
    }),
  );
}
