import { describe, expect, expectTypeOf, it } from 'vitest';
import {
  assertPath,
  boolean,
  custom,
  type Given,
  hashText,
  integer,
  listOf,
  number,
  OptionError,
  oneOf,
  options,
  PosttrainError,
  type Read,
  settingDifferences,
  settingsOf,
  showDifferences,
  text,
} from '../src/index.js';

const shape = options(
  'clip',
  {
    /** How far the ratio may fall. */
    epsilon: number({ default: 0.2, above: 0, below: 1 }),
    epsilonHigh: number({ min: 0, optional: true }),
    steps: integer({ min: 1 }),
    kind: oneOf(['a', 'b'], { default: 'a' }, { alpha: 'a' }),
    fast: boolean({ default: false }),
    label: text({ optional: true }),
    sizes: listOf(integer({ min: 0 }), { default: [1, 2] }),
    maxBatch: integer({ default: 64, decisive: false }),
    reward: custom<(x: string) => number>()('a function', (value) => typeof value === 'function', { optional: true }),
  },
  { aliases: { num_steps: 'steps' }, hints: { beta: 'It belongs to the loss.' } },
);

const failure = (given: unknown): OptionError => {
  try {
    shape.read(given as Given<typeof shape>);
  } catch (error) {
    return error as OptionError;
  }
  throw new Error('was accepted');
};

describe('options', () => {
  it('puts defaults in the place of what is not given, and of undefined', () => {
    expect(shape.read({ steps: 3 })).toEqual({
      ...{ epsilon: 0.2, steps: 3, kind: 'a', fast: false, sizes: [1, 2], maxBatch: 64 },
    });
    expect(shape.read({ steps: 3, epsilon: undefined as never }).epsilon).toBe(0.2);
  });

  it('has the types of what is given and of what is read', () => {
    type Options = Given<typeof shape>;
    expectTypeOf<Options['epsilon']>().toEqualTypeOf<number | undefined>();
    expectTypeOf<Options['steps']>().toEqualTypeOf<number>();
    expectTypeOf<Options['kind']>().toEqualTypeOf<'a' | 'b' | undefined>();
    type Complete = Read<typeof shape>;
    expectTypeOf<Complete['epsilon']>().toEqualTypeOf<number>();
    expectTypeOf<Complete['epsilonHigh']>().toEqualTypeOf<number | undefined>();
    expectTypeOf<Complete['reward']>().toEqualTypeOf<((x: string) => number) | undefined>();
    // @ts-expect-error an option that must be given
    expect(() => shape.read({})).toThrow();
  });

  it.each([
    [{}, 'MISSING_OPTION', 'clip: steps is missing; it must be a whole number of at least 1.'],
    [{ steps: 0 }, 'INVALID_OPTION', 'clip: steps is 0; it must be a whole number of at least 1.'],
    [{ steps: 1.5 }, 'INVALID_OPTION', 'clip: steps is 1.5; it must be a whole number of at least 1.'],
    [{ steps: '3' }, 'INVALID_OPTION', 'clip: steps is "3"; it must be a whole number of at least 1.'],
    [{ steps: null }, 'INVALID_OPTION', 'clip: steps is null; it must be a whole number of at least 1.'],
    [
      { steps: 1, epsilon: 1 },
      'INVALID_OPTION',
      'epsilon is 1; it must be a number above 0 and below 1 (default 0.2).',
    ],
    [{ steps: 1, epsilon: Number.NaN }, 'INVALID_OPTION', 'epsilon is NaN'],
    [{ steps: 1, kind: 'c' }, 'INVALID_OPTION', 'kind is "c"; it must be one of "a", "b" (default "a").'],
    [{ steps: 1, kind: 'alpha' }, 'INVALID_OPTION', '(default "a"). It is called "a" here.'],
    [{ steps: 1, kind: 'A' }, 'INVALID_OPTION', '(default "a"). Did you mean "a"?'],
    [{ steps: 1, sizes: [1, -1] }, 'INVALID_OPTION', 'sizes is [1, -1]; it must be a list, each item a whole number'],
    [{ steps: 1, reward: 'grpo' }, 'INVALID_OPTION', 'reward is "grpo"; it must be a function.'],
    [{ steps: 1, epsilonhigh: 1 }, 'UNKNOWN_OPTION', 'unknown option "epsilonhigh". Did you mean "epsilonHigh"?'],
    [{ num_steps: 1 }, 'UNKNOWN_OPTION', 'unknown option "num_steps". It is called "steps" here.'],
    [JSON.parse('{"steps":1,"__proto__":1}'), 'UNKNOWN_OPTION', 'unknown option "__proto__"'],
    [{ steps: -0 }, 'INVALID_OPTION', 'steps is -0; it must be'],
    [{ beta: 0.1 }, 'UNKNOWN_OPTION', 'unknown option "beta". It belongs to the loss. Known options: epsilon'],
    ['grpo', 'INVALID_OPTION', 'clip: options must be an object, got "grpo". Known options: epsilon'],
    [null, 'INVALID_OPTION', 'clip: options must be an object, got null.'],
    [[1], 'INVALID_OPTION', 'clip: options must be an object, got [1].'],
  ])('refuses %j', (given, code, message) => {
    const error = failure(given);
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toBeInstanceOf(PosttrainError);
    expect(error).toMatchObject({ code, where: 'clip', message: expect.stringContaining(message) });
  });

  it('refuses a default that is not valid where it is declared', () => {
    expect(() => number({ default: 2, max: 1 })).toThrow(TypeError);
    expect(() => integer({ default: 3, from: 1 } as never)).toThrow(
      'an option has no "from"; it may say default, optional',
    );
  });

  it('gives what decides a result: defaults included, memory limits not', () => {
    expect(shape.settings({ steps: 3, maxBatch: 1 })).toEqual({
      ...{ epsilon: 0.2, epsilonHigh: 'not given', steps: 3, kind: 'a', fast: false, label: 'not given' },
      ...{ sizes: '[1,2]', reward: 'not given' },
    });
  });
});

it.each([undefined, null, 5, '', 'a\0', {}])('%j is no path', (value) => {
  expect(() => assertPath('load', 'folder', value)).toThrow(/load: folder is .*; it must be a path: a text/);
});

it('says how a URL or a promise becomes a path', () => {
  expect(() => assertPath('load', 'folder', new URL('file:///a'))).toThrow('fileURLToPath');
  expect(() => assertPath('load', 'folder', Promise.resolve('a'))).toThrow('await it first');
});

describe('settingsOf', () => {
  it('tells values apart that decide otherwise', () => {
    const loss = { name: 'dpo', settings: { beta: 0.1 }, compute: () => 0 };
    expect(settingsOf(loss)).toEqual({ name: 'dpo', beta: 0.1 });
    expect(settingsOf({ a: loss, weight: 2, none: null, missing: undefined, not: Number.NaN })).toEqual({
      ...{ a: 'dpo', 'a.beta': 0.1, weight: 2, none: 'null', missing: 'not given', not: 'NaN' },
    });
    const [one, two] = [(x: string) => x.length, (x: string) => x.length + 1];
    expect(settingsOf(one)).not.toBe(settingsOf(two));
    expect(settingsOf(one)).toBe(settingsOf(one));
    expect(settingsOf(new Map())).toBe('Map');
    expect(settingsOf([1, [2]])).toEqual({ 0: 1, '1.0': 2 });
  });

  it('compares two runs, where what only one has was not given in the other', () => {
    const differences = settingDifferences({ a: 1, b: 2, old: true }, { a: 1, b: 3, new: 'x' });
    expect(showDifferences(differences)).toBe(
      'b was 2 and is 3; old was true and is not given; new was not given and is x',
    );
    expect(settingDifferences({ a: 1 }, { a: 1, b: 'not given' })).toEqual([]);
  });

  it('hashes texts to what cyrb53 gives', () => {
    // Values of the published test vectors of cyrb53 with seed 0.
    expect([hashText('a'), hashText('b')].map((x) => Number.parseInt(x, 16))).toEqual([
      7929297801672961, 8684336938537663,
    ]);
  });
});
