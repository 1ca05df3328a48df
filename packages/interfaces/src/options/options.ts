import { addSettings, type DecisiveSettings, NOT_GIVEN } from '../settings.js';
import { assertKnownOptions, type OptionHints } from './known-options.js';
import type { Option } from './option.js';
import { OptionError, showValue } from './option-error.js';

/** Options by name, each declared once: `options('clip', { epsilon: number({ default: 0.2, min: 0 }) })`. */
export type OptionShape = Readonly<Record<string, Option<unknown>>>;

type ValueOf<O> = O extends Option<infer T> ? T : never;
type PresenceOf<O> = O extends Option<unknown, infer P> ? P : never;
/** Shows one object type in editors instead of an intersection; documentation of the properties stays. */
type Flat<T> = { [K in keyof T]: T[K] };

type GivenOf<S extends OptionShape> = Flat<
  { readonly [K in keyof S as PresenceOf<S[K]> extends 'required' ? K : never]: ValueOf<S[K]> } & {
    readonly [K in keyof S as PresenceOf<S[K]> extends 'required' ? never : K]?: ValueOf<S[K]>;
  }
>;
type ReadOf<S extends OptionShape> = Flat<
  { readonly [K in keyof S as PresenceOf<S[K]> extends 'optional' ? never : K]: ValueOf<S[K]> } & {
    readonly [K in keyof S as PresenceOf<S[K]> extends 'optional' ? K : never]?: ValueOf<S[K]>;
  }
>;

/** The declared options of one function or method. */
export interface Options<S extends OptionShape> {
  /** The name that errors begin with. */
  readonly where: string;
  readonly shape: S;
  /**
   * Checks given options and puts defaults in the place of what is not given (or undefined).
   *
   * @throws OptionError for one that is unknown (naming the nearest), missing, or cannot be right
   */
  read(given: GivenOf<S>): ReadOf<S>;
  /** What decides a result, defaults included, by name. Checks as `read` does. */
  settings(given: GivenOf<S>): DecisiveSettings;
}

/** What a caller writes: the type of the options of a function. */
export type Given<O> = O extends Options<infer S> ? GivenOf<S> : never;
/** What the function then works with: defaults are in place. */
export type Read<O> = O extends Options<infer S> ? ReadOf<S> : never;

/**
 * Declares the options of a function once: their types (`Given<typeof theOptions>`), defaults, ranges, errors, and what
 * they say of the identity of a resumable run all come from here. Documentation stands above each option.
 */
export function options<const S extends OptionShape>(where: string, shape: S, more: OptionHints = {}): Options<S> {
  const names = Object.keys(shape);
  const read = (given: GivenOf<S>): ReadOf<S> => {
    assertKnownOptions(where, given, names, more);
    const values: Record<string, unknown> = {};
    for (const name of names) {
      const { presence, expects, default: fallback, secret, isValid, hint } = shape[name]!;
      const value = (given as Readonly<Record<string, unknown>>)[name];
      if (value === undefined) {
        if (presence === 'required') {
          const said = hint?.(undefined);
          const problem = `${name} is missing; it must be ${expects}.${said === undefined ? '' : ` ${said}`}`;
          throw new OptionError('MISSING_OPTION', where, name, problem);
        }
        if (presence === 'default') values[name] = fallback;
        continue;
      }
      if (!isValid(value)) {
        const note = fallback === undefined || typeof fallback === 'object' ? '' : ` (default ${showValue(fallback)})`;
        const said = hint?.(value);
        throw new OptionError(
          'INVALID_OPTION',
          where,
          name,
          `${name} is ${secret ? 'something else' : showValue(value)}; it must be ${expects}${note}.${said === undefined ? '' : ` ${said}`}`,
        );
      }
      values[name] = value;
    }
    return values as ReadOf<S>;
  };
  const settings = (given: GivenOf<S>): DecisiveSettings => {
    const values = read(given) as Readonly<Record<string, unknown>>;
    const decided: Record<string, DecisiveSettings[string]> = {};
    for (const name of names) {
      const { decisive, settings: of } = shape[name]!;
      if (decisive) addSettings(decided, name, values[name] === undefined ? NOT_GIVEN : of(values[name]));
    }
    return decided;
  };
  return { where, shape, read, settings };
}
