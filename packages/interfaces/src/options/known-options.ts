import { nearestName } from '../errors.js';
import { OptionError, showValue } from './option-error.js';

/** What an error about an unknown option says beside the nearest name. */
export interface OptionHints {
  /** Names that other libraries have for options, with ours. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Names of what is said elsewhere or not at all, with a sentence that says where or why. */
  readonly hints?: Readonly<Record<string, string>>;
  /** The option that a text in the place of the options was meant for. */
  readonly bare?: string;
}

/**
 * Throws when `options` is no object, or has a key that is not in `known`, naming the nearest known one.
 * `where` names the function or file the options were given to.
 *
 * @throws OptionError
 */
export function assertKnownOptions(
  where: string,
  options: object,
  known: readonly string[],
  { aliases = {}, hints = {}, bare }: OptionHints = {},
): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    const meant = bare !== undefined && typeof options === 'string';
    const hint = meant ? ` Did you mean { ${bare}: ${showValue(options)} }?` : '';
    const problem = `options must be an object, got ${showValue(options)}.${hint} Known options: ${known.join(', ')}.`;
    throw new OptionError('INVALID_OPTION', where, 'options', problem);
  }
  const own = (record: Readonly<Record<string, string>>, name: string) =>
    Object.hasOwn(record, name) ? record[name] : undefined;
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const [said, alias] = [own(hints, name), own(aliases, name)];
    const near = said === undefined && alias === undefined ? nearestName(name, known) : undefined;
    const hint = [
      ...(said === undefined ? [] : [` ${said}`]),
      ...(alias === undefined || said !== undefined ? [] : [` It is called "${alias}" here.`]),
      ...(near === undefined ? [] : [` Did you mean "${near}"?`]),
    ].join('');
    const message = `unknown option "${name}".${hint} Known options: ${known.join(', ')}.`;
    throw new OptionError('UNKNOWN_OPTION', where, name, message);
  }
}
