import { nearestName } from '../errors.js';
import { addSettings, type DecisiveSettings, NOT_GIVEN } from '../settings.js';
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

/** What `options` may be told beside the options. */
export interface OptionsMore {
  /** Names that other libraries have for options, which the error about an unknown option then translates. */
  readonly aliases?: Readonly<Record<string, string>>;
}

/**
 * Declares the options of a function once: their types (`Given<typeof theOptions>`), defaults, ranges, errors, and what
 * they say of the identity of a resumable run all come from here. Documentation stands above each option.
 */
export function options<const S extends OptionShape>(where: string, shape: S, more: OptionsMore = {}): Options<S> {
  const names = Object.keys(shape);
  const read = (given: GivenOf<S>): ReadOf<S> => {
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      throw new OptionError(
        'INVALID_OPTION',
        where,
        'options',
        `the options must be an object, not ${showValue(given)}.`,
      );
    }
    for (const name of Object.keys(given)) if (!Object.hasOwn(shape, name)) throw unknown(name);
    const values: Record<string, unknown> = {};
    for (const name of names) {
      const { presence, expects, default: fallback, secret, isValid } = shape[name]!;
      const value = (given as Readonly<Record<string, unknown>>)[name];
      if (value === undefined) {
        if (presence === 'required') {
          throw new OptionError('MISSING_OPTION', where, name, `${name} is missing; it must be ${expects}.`);
        }
        if (presence === 'default') values[name] = fallback;
        continue;
      }
      if (!isValid(value)) {
        const note = fallback === undefined || typeof fallback === 'object' ? '' : ` (default ${showValue(fallback)})`;
        throw new OptionError(
          'INVALID_OPTION',
          where,
          name,
          `${name} is ${secret ? 'something else' : showValue(value)}; it must be ${expects}${note}.`,
        );
      }
      values[name] = value;
    }
    return values as ReadOf<S>;
  };
  const unknown = (name: string) => {
    const alias = more.aliases?.[name];
    const near = alias ?? nearestName(name, names);
    const hint = alias ? ` It is called "${alias}" here.` : near ? ` Did you mean "${near}"?` : '';
    const message = `unknown option "${name}".${hint} Known options: ${names.join(', ')}.`;
    return new OptionError('UNKNOWN_OPTION', where, name, message);
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
