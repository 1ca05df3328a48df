import { AdapterConfigError } from './errors.js';

/** Flags that Python and JavaScript share. */
const SHARED_FLAGS = /^[ims]+$/;

/**
 * A regular expression in Python's syntax that must match the whole of a text, as `re.fullmatch` does. Named groups,
 * `\A`, `\Z` and leading flags are translated; what JavaScript does not have is an error.
 *
 * @param option what the pattern was given as, for the message
 */
export function fullMatch(pattern: string, option: string): (text: string) => boolean {
  const flags = /^\(\?([a-zA-Z]+)\)/.exec(pattern);
  if (flags && !SHARED_FLAGS.test(flags[1]!)) throw refused(pattern, option, `the flags (?${flags[1]}) do not exist`);
  const body = pattern
    .slice(flags?.[0].length ?? 0)
    .replace(/\\[\s\S]|\(\?P<|\(\?P=(\w+)\)/g, (found, group: string | undefined) => {
      if (group !== undefined) return `\\k<${group}>`;
      return { '(?P<': '(?<', '\\A': '^', '\\Z': '$' }[found] ?? found;
    });
  try {
    const expression = new RegExp(`^(?:${body})$`, flags?.[1] ?? '');
    return (text) => expression.test(text);
  } catch (error) {
    throw refused(pattern, option, (error as Error).message);
  }
}

const refused = (pattern: string, option: string, problem: string) =>
  new AdapterConfigError(
    `${option}: the regular expression ${JSON.stringify(pattern)} cannot be used here: ${problem}.`,
  );
