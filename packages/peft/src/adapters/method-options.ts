import { custom, type Option, type OptionShape, type Options, options } from '@posttrain/interfaces';

/** What the declared options of a method must have: `methodOptions` gives it. */
export interface MethodOptions<Config extends object> {
  readonly where: string;
  readonly shape: Readonly<Record<string, Option<unknown>>>;
  /** Checks given options and puts defaults in the place of the others. @throws OptionError */
  read(given: Partial<Config>): Config;
}

/** What people call options of methods, beside PEFT's names in snake case, which are near enough. */
const ALIASES = {
  ...{ rank: 'r', lora_r: 'r', loraR: 'r', alpha: 'loraAlpha', dropout: 'loraDropout' },
  ...{ targets: 'targetModules', target: 'targetModules', layers: 'layersToTransform' },
};

/**
 * Declares the options of a method once: types (`Read<typeof loraOptions>`), defaults, ranges, errors, files, the table of the
 * docs and the identity of a resumed run come from here. Names are PEFT's in camel case; every option has a default, which
 * is PEFT's.
 */
export function methodOptions<const S extends OptionShape>(peftType: string, shape: S): Options<S> {
  const aliases = Object.fromEntries(Object.entries(ALIASES).filter(([, name]) => Object.hasOwn(shape, name)));
  return options(`createAdapter(${peftType})`, shape, { aliases });
}

/** An option that may be null, and is when it is not given. */
export const orNull = <T>(option: Option<T>): Option<T | null, 'default'> =>
  custom<T | null>()(`${option.expects}, or null`, (value) => value === null || option.isValid(value), {
    default: null,
  }) as Option<T | null, 'default'>;

export const isTexts = (value: unknown): boolean =>
  Array.isArray(value) && value.every((entry) => typeof entry === 'string');

const patterns = orNull(
  custom<readonly string[] | string>()(
    'a list of texts or a text',
    (value) => typeof value === 'string' || isTexts(value),
    {
      default: '',
    },
  ),
);

/** Which modules a method enters, and which are trained whole. */
export const targetOptions = {
  /**
   * A list of module paths or dotted endings (`q_proj`), one regular expression in Python's syntax that must match a whole
   * path, or `'all-linear'`: every linear layer but the output layer, and with LoRA the experts of a mixture as `targetParameters`. Default: null,
   * PEFT's of the model type.
   */
  targetModules: patterns,
  /** Modules trained whole, as copies: paths or dotted endings. Default: none. */
  modulesToSave: orNull(custom<readonly string[]>()('a list of texts', isTexts, { default: [] })),
};

/** For methods that have it beside `targetOptions`. */
export const excludeOption = {
  /** Modules to leave out, written as `targetModules`. Default: none. */
  excludeModules: patterns,
};

/** For methods that have it beside `targetOptions`. */
export const layerOptions = {
  /** Indices of the transformer blocks to enter; needs a list in `targetModules`. Default: all. */
  layersToTransform: orNull(
    custom<readonly number[] | number>()('the index of a layer or a list of them', isIndices, { default: [] }),
  ),
  /**
   * Name of the list of blocks, when it is not the first numbered part of the path (`layers`, `h`). Default: that part.
   */
  layersPattern: patterns,
};

function isIndices(value: unknown): boolean {
  const indices: readonly unknown[] = Array.isArray(value) ? value : [value];
  // What was computed to be -0 was not meant to be the first.
  return indices.every((index) => Number.isSafeInteger(index) && (index as number) >= 0 && !Object.is(index, -0));
}

/** Numbers by module: PEFT's `rank_pattern` and its kin. */
export const patternOption = custom<Readonly<Record<string, number>>>()(
  'an object of patterns and numbers',
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((entry) => typeof entry === 'number'),
  { default: {} },
);

/**
 * Options of a part of a method, an object with some of the names of `defaults`; null when not given. Called `…Config`, its names are turned into
 * snake case in files as those of the method are.
 */
export const nestedOption = <T extends object>(
  defaults: T,
  valid: { readonly [Name in keyof T]: (value: unknown) => boolean },
): Option<Partial<T> | null, 'default'> => {
  const names = Object.keys(defaults) as (keyof T & string)[];
  const isPart = (value: unknown): boolean =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.entries(value).every(
      ([name, one]) => names.includes(name as keyof T & string) && valid[name as keyof T](one),
    );
  return orNull(
    custom<Partial<T>>()(`an object with ${names.map((name) => `\`${name}\``).join(', ')}`, isPart, { default: {} }),
  );
};
