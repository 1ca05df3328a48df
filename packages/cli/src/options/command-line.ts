import { nearestName, type Option, OptionError, type OptionShape, type Options } from '@posttrain/interfaces';
import { parse } from 'yaml';
import { CommandLineError } from './command-line-error.js';
import { camelCase, isRecord, kebabCase } from './names.js';

/** What was typed: what is no option, and the options by their declared names. */
export interface CommandLine {
  readonly positionals: readonly string[];
  /** Values by declared name; `--loss.beta 2` is `{ loss: { beta: 2 } }`. */
  readonly given: Readonly<Record<string, unknown>>;
}

/** Declared options, whatever their types. */
export type AnyOptions = Pick<Options<OptionShape>, 'where' | 'shape'> & { read(given: never): object };

/**
 * Reads arguments by the declarations of options. `--batch-size 4`, `--batch-size=4`, `--packing` and `--no-packing`; parts of an
 * option that has some with a dot, `--optimizer.beta1 0.8`. What is typed is read as YAML reads it, so `[a, b]` is a list,
 * and as a text where the option takes that only.
 *
 * @throws CommandLineError for an option that is not declared, naming the nearest, and for one without its value
 */
export function commandLine(declared: AnyOptions, args: readonly string[]): CommandLine {
  const positionals: string[] = [];
  let given: Readonly<Record<string, unknown>> = {};
  for (let i = 0; i < args.length; i++) {
    const typed = args[i]!;
    if (typed === '--') {
      positionals.push(...args.slice(i + 1));
      break;
    }
    if (!/^--?[a-zA-Z]/.test(typed)) {
      positionals.push(typed);
      continue;
    }
    const [, dashes, path, after] = /^(--?)([^=]*)(?:=(.*))?$/s.exec(typed)!;
    if (dashes === '-') throw new CommandLineError(`options have two dashes; there is no ${typed}.`);
    const { option, names, isOff } = optionOf(declared, path!);
    const isSwitch = names.length === 1 && option.isValid(true);
    const next = args[i + 1];
    let value: unknown;
    if (after !== undefined && !isOff) value = typedValue(names.length === 1 ? option : undefined, after);
    else if (isOff) value = false;
    // A switch takes what follows only where that can be nothing else.
    else if (isSwitch) value = next === 'true' || next === 'false' ? args[++i] === 'true' : true;
    else if (next === undefined || /^--[a-zA-Z]/.test(next)) {
      throw new CommandLineError(`--${path} takes a value: ${option.expects}.`);
    } else value = typedValue(names.length === 1 ? option : undefined, args[++i]!);
    given = merged(given, nested(names, value));
  }
  return { positionals, given };
}

/** The option that is meant, the names of its part, and whether it is turned off. @throws CommandLineError */
function optionOf({ where, shape, ...declared }: AnyOptions, path: string) {
  const [first = '', ...parts] = path.split('.');
  const name = camelCase(first);
  const own = Object.hasOwn(shape, name) && first === kebabCase(name) ? shape[name] : undefined;
  if (own) return { option: own, names: [name, ...parts], isOff: false };
  const off = /^no-(.*)$/.exec(first)?.[1];
  const turned = off !== undefined && Object.hasOwn(shape, camelCase(off)) ? shape[camelCase(off)] : undefined;
  if (turned?.isValid(false)) return { option: turned, names: [camelCase(off!)], isOff: true };
  throw new CommandLineError(unknownOption({ where, shape, ...declared }, first));
}

/** What is said of a name that is not declared: what it is called here, what to do instead, or the nearest. */
export function unknownOption(declared: AnyOptions, name: string): string {
  let said: string | undefined;
  try {
    declared.read({ [name]: 0 } as never);
  } catch (error) {
    if (error instanceof OptionError && error.code === 'UNKNOWN_OPTION') {
      said = /unknown option "[^"]*"\. (.*) ?Known options:/s.exec(error.message)?.[1]?.trim();
    }
  }
  const near = nearestName(name, Object.keys(declared.shape).map(kebabCase));
  const hint = said && !said.startsWith('Did you mean') ? asTyped(said) : near && `Did you mean --${near}?`;
  return `there is no option --${name}.${hint ? ` ${hint}` : ''}`;
}

/** Names in quotes as they are typed. */
const asTyped = (text: string): string =>
  text.replaceAll(/called "(\w+)"/g, (_, name: string) => `called --${kebabCase(name)}`);

/** A typed text as YAML reads it; as it stands where the option takes no other, or YAML cannot read it. */
export function typedValue(option: Option<unknown> | undefined, typed: string): unknown {
  const value = fromYaml(typed);
  if (!option) return value;
  return option.isValid(value) || !option.isValid(typed) ? value : typed;
}

function fromYaml(typed: string): unknown {
  try {
    const value: unknown = parse(typed);
    // An empty text is nothing to YAML.
    return value === null && typed !== 'null' && typed !== '~' ? typed : value;
  } catch {
    return typed;
  }
}

const nested = (names: readonly string[], value: unknown): Readonly<Record<string, unknown>> => {
  const [name, ...parts] = names;
  return { [name!]: parts.length === 0 ? value : nested(parts, value) };
};

/**
 * Options over others. A record and a record become one; a name over a record with options changes the name, and drops the options where
 * it is another's.
 */
export function merged(
  under: Readonly<Record<string, unknown>>,
  over: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  // By a map, since an object takes __proto__ for something else.
  const all = new Map(Object.entries(under));
  for (const [name, value] of Object.entries(over)) {
    all.set(name, all.has(name) ? mergedValue(all.get(name), value) : value);
  }
  return Object.fromEntries(all);
}

function mergedValue(under: unknown, over: unknown): unknown {
  const before = isRecord(under) ? under : typeof under === 'string' ? { name: under } : undefined;
  if (!before || (typeof over !== 'string' && !isRecord(over))) return over;
  const after = isRecord(over) ? over : { name: over };
  const isOther = after.name !== undefined && before.name !== undefined && after.name !== before.name;
  return isOther || Object.keys(before).length === 0 ? over : merged(before, after);
}

/** An error of a declared option with the name that is typed; any other as it is. */
export function asCommandLineError(error: unknown): unknown {
  if (!(error instanceof OptionError)) return error;
  const { option, message } = error;
  return new CommandLineError(
    message.replace(new RegExp(`^(.*?: )?${option.replaceAll(/\W/g, '\\$&')}( is)`), `--${kebabCase(option)}$2`),
  );
}
