import { nearestName } from '../errors.js';
import { type DecisiveSettings, settingsOf } from '../settings.js';
import { showValue } from './option-error.js';

/** Whether an option must be given, has a default, or may stay undefined. */
export type Presence = 'required' | 'default' | 'optional';

/** One option: which values it takes, what it is when it is not given, and whether it decides a result. */
export interface Option<T, P extends Presence = Presence> {
  readonly presence: P;
  /** Valid values in words, to follow "must be". */
  readonly expects: string;
  readonly default?: T;
  /** False for what costs or shows something and changes no result: memory limits, logging, progress. */
  readonly decisive: boolean;
  /** True for passwords and keys: no error shows a value. */
  readonly secret: boolean;
  isValid(value: unknown): value is T;
  /** What a value that is not valid may have meant, as a sentence. */
  hint?(value: unknown): string | undefined;
  /** What stands for a value in the identity of a run; an option of several settings gives several. */
  settings(value: T): DecisiveSettings[string] | DecisiveSettings;
}

/** What every kind of option can say of itself. */
export interface OptionSpec<T> {
  /** Used when the option is not given. */
  readonly default?: T;
  /** The option may stay undefined. */
  readonly optional?: true;
  /** Default true. */
  readonly decisive?: boolean;
  /** Default false. */
  readonly secret?: boolean;
}

type PresenceOf<S> = S extends { readonly default: unknown }
  ? 'default'
  : S extends { readonly optional: true }
    ? 'optional'
    : 'required';

const SPEC_KEYS: readonly string[] = [
  'default',
  'optional',
  'decisive',
  'secret',
  'min',
  'max',
  'above',
  'below',
  'settings',
  'hint',
];

function option<T, S extends OptionSpec<T>>(
  spec: S,
  expects: string,
  isValid: (value: unknown) => boolean,
  settings: (value: T) => DecisiveSettings[string] | DecisiveSettings,
  hint?: (value: unknown) => string | undefined,
): Option<T, PresenceOf<S>> {
  const unknown = Object.keys(spec).find((key) => !SPEC_KEYS.includes(key));
  if (unknown !== undefined) throw new TypeError(`an option has no "${unknown}"; it may say ${SPEC_KEYS.join(', ')}`);
  const presence = 'default' in spec ? 'default' : spec.optional ? 'optional' : 'required';
  if (spec.default !== undefined && !isValid(spec.default)) {
    throw new TypeError(`default ${showValue(spec.default)} is not ${expects}`);
  }
  return {
    presence: presence as PresenceOf<S>,
    expects,
    ...(spec.default !== undefined && { default: spec.default }),
    decisive: spec.decisive ?? true,
    secret: spec.secret ?? false,
    isValid: isValid as (value: unknown) => value is T,
    settings,
    ...(hint && { hint }),
  };
}

/** Bounds of a number, in the words of mathematics: `min` and `max` belong to the range, `above` and `below` do not. */
export interface Range {
  readonly min?: number;
  readonly max?: number;
  readonly above?: number;
  readonly below?: number;
}

const same = <T extends DecisiveSettings[string]>(value: T): T => value;

/** A finite number. */
export const number = <const S extends OptionSpec<number> & Range>(spec: S): Option<number, PresenceOf<S>> =>
  option<number, S>(spec, `a number${inWords(spec)}`, (value) => isNumber(value) && inRange(value, spec), same);

/** A whole number that a double holds exactly. */
export const integer = <const S extends OptionSpec<number> & Range>(spec: S): Option<number, PresenceOf<S>> =>
  option<number, S>(
    spec,
    `a whole number${inWords(spec)}`,
    (value) => Number.isSafeInteger(value) && inRange(value as number, spec),
    same,
  );

/** True or false. */
export const boolean = <const S extends OptionSpec<boolean>>(spec: S): Option<boolean, PresenceOf<S>> =>
  option<boolean, S>(spec, 'true or false', (value) => typeof value === 'boolean', same);

/** A text. */
export const text = <const S extends OptionSpec<string>>(spec: S): Option<string, PresenceOf<S>> =>
  option<string, S>(spec, 'a text', (value) => typeof value === 'string', same);

/** One of a few texts. `aliases`: what other libraries call them, for the error. */
export const oneOf = <const T extends string, const S extends OptionSpec<NoInfer<T>>>(
  choices: readonly T[],
  spec: S,
  aliases: Readonly<Record<string, NoInfer<T>>> = {},
): Option<T, PresenceOf<S>> =>
  option<T, S>(
    spec,
    `one of ${choices.map((choice) => `"${choice}"`).join(', ')}`,
    (value) => choices.includes(value as T),
    same,
    (value) => {
      if (typeof value !== 'string') return undefined;
      if (Object.hasOwn(aliases, value)) return `It is called "${aliases[value]}" here.`;
      const near = nearestName(value, choices);
      return near === undefined ? undefined : `Did you mean "${near}"?`;
    },
  );

/** A list whose items are valid values of another option. */
export const listOf = <T, const S extends OptionSpec<readonly T[]>>(
  item: Option<T>,
  spec: S,
): Option<readonly T[], PresenceOf<S>> =>
  option<readonly T[], S>(
    spec,
    `a list, each item ${item.expects}`,
    (value) => Array.isArray(value) && value.every((entry) => item.isValid(entry)),
    (value) => JSON.stringify(value.map((entry) => item.settings(entry))),
  );

/**
 * A value of any other kind: a model, a function, an object with methods. `expects` is its kind in words; `settings` says
 * what stands for it in the identity of a run (default: `settingsOf`).
 */
export const custom = <T>() => {
  return <const S extends OptionSpec<T>>(
    expects: string,
    isValid: (value: unknown) => boolean,
    spec: S & {
      readonly settings?: (value: T) => DecisiveSettings[string] | DecisiveSettings;
      /** What a value that is not valid may have meant, as a sentence. */
      readonly hint?: (value: unknown) => string | undefined;
    },
  ): Option<T, PresenceOf<S>> => option<T, S>(spec, expects, isValid, spec.settings ?? settingsOf, spec.hint);
};

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

const inRange = (value: number, { min, max, above, below }: Range): boolean =>
  !(min !== undefined && value < min) &&
  !(max !== undefined && value > max) &&
  !(above !== undefined && value <= above) &&
  !(below !== undefined && value >= below);

function inWords({ min, max, above, below }: Range): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  const parts = [
    min === undefined ? [] : `of at least ${min}`,
    max === undefined ? [] : `of at most ${max}`,
    above === undefined ? [] : `above ${above}`,
    below === undefined ? [] : `below ${below}`,
  ].flat();
  return parts.length === 0 ? '' : ` ${parts.join(' and ')}`;
}
