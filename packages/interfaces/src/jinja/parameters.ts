import { fail } from './errors.js';
import type { Arguments, NamedArguments, Value } from './values.js';

/** The parameters of a built-in, from text like `old, new, count?`; behind `/` they can also be named. */
export interface Parameters {
  readonly names: readonly string[];
  readonly required: number;
  /** How many cannot be named. */
  readonly positionalOnly: number;
}

export function parameters(text: string): Parameters {
  const [before, after] = text.includes('/') ? text.split('/') : ['', text];
  const parse = (part = '') => part.split(',').flatMap((name) => (name.trim() === '' ? [] : [name.trim()]));
  const unnamed = parse(before);
  const all = [...unnamed, ...parse(after)];
  return {
    names: all.map((name) => name.replace('?', '')),
    required: all.filter((name) => !name.endsWith('?')).length,
    positionalOnly: unnamed.length,
  };
}

/** Puts arguments where the parameters want them; undefined where one is left out. @throws JinjaError as Python's TypeError */
export function bind(
  what: string,
  { names, required, positionalOnly }: Parameters,
  args: Arguments,
  named: NamedArguments,
): (Value | undefined)[] {
  if (args.length > names.length) fail(`${what} takes at most ${names.length} argument(s) (${args.length} given)`);
  const bound: (Value | undefined)[] = [...args];
  for (const [name, value] of named) {
    const at = names.indexOf(name);
    if (at < positionalOnly) fail(`${what} got an unexpected keyword argument '${name}'`);
    if (bound[at] !== undefined) fail(`${what} got multiple values for argument '${name}'`);
    bound[at] = value;
  }
  for (let i = 0; i < required; i++) {
    if (bound[i] === undefined) fail(`${what} is missing the argument '${names[i]}'`);
  }
  return bound;
}
