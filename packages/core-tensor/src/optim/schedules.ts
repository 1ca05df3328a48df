import { type Given, number, oneOf, options, PosttrainError } from '@posttrain/interfaces';

/** Learning rate of update `step`, counted from 0, as a fraction of the peak. */
export type Schedule = (step: number) => number;

const warmupShape = {
  /** Updates over which the rate rises linearly from 0. Default 0. */
  warmupSteps: number({ default: 0, min: 0 }),
};
const decayShape = {
  ...warmupShape,
  /** Updates in the whole run. */
  totalSteps: number({ min: 0 }),
};
/** Of schedules that do not end with the run. */
const endlessShape = { ...warmupShape, totalSteps: number({ optional: true, min: 0 }) };
const cosineShape = {
  ...decayShape,
  /** The lowest rate, as a fraction of the peak. Default 0. */
  minimum: number({ default: 0, min: 0, max: 1 }),
  /** Waves between warm-up and end. Default 0.5: from the peak down to the minimum, once. */
  cycles: number({ default: 0.5, min: 0 }),
};
/** The options of every schedule, by its Hugging Face name. */
const declared = {
  constant: options('constant', endlessShape),
  constant_with_warmup: options('constant_with_warmup', endlessShape),
  linear: options('linear', decayShape),
  cosine: options('cosine', cosineShape),
  cosine_with_restarts: options('cosine_with_restarts', {
    ...decayShape,
    /** Half cosines. Default 1. */
    cycles: number({ default: 1, min: 0 }),
  }),
  cosine_with_min_lr: options('cosine_with_min_lr', cosineShape),
  cosine_warmup_with_min_lr: options('cosine_warmup_with_min_lr', {
    ...cosineShape,
    /** Where the warm-up starts, as a fraction of the peak. Default 1 / warmupSteps. */
    warmupStart: number({ optional: true, min: 0 }),
  }),
  polynomial: options('polynomial', {
    ...decayShape,
    minimum: cosineShape.minimum,
    /** Default 1: linear. */
    power: number({ default: 1 }),
  }),
  inverse_sqrt: options('inverse_sqrt', {
    ...endlessShape,
    /** Default warmupSteps, or 10,000 without warm-up. */
    timescale: number({ optional: true, above: 0 }),
  }),
  warmup_stable_decay: options('warmup_stable_decay', {
    ...cosineShape,
    /** Updates of the decay. */
    decaySteps: number({ min: 0 }),
    /** Updates at the peak. Default: what warm-up and decay leave of the run. */
    stableSteps: number({ optional: true, min: 0 }),
    /** Form of the warm-up, which starts at `minimum`. Default `linear`. */
    warmupType: oneOf(['linear', 'cosine', '1-sqrt'], { default: 'linear' }),
    /** Form of the decay, which ends at `minimum`. Default `cosine`. */
    decayType: oneOf(['linear', 'cosine', '1-sqrt'], { default: 'cosine' }),
  }),
} as const;

/** Options of a schedule that warms up. */
export type WarmupOptions = Given<typeof declared.constant>;
/** Options of a schedule that ends with the run. */
export type DecayOptions = Given<typeof declared.linear>;
/** Options of the cosine schedule. */
export type CosineOptions = Given<typeof declared.cosine>;
/** Options of the warm-up, stable, decay schedule. */
export type WarmupStableDecayOptions = Given<typeof declared.warmup_stable_decay>;

function warmup(warmupSteps: number, then: Schedule): Schedule {
  return (step) => (step < warmupSteps ? step / Math.max(1, warmupSteps) : then(step));
}

function progress(step: number, warmupSteps: number, totalSteps: number): number {
  return (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
}

/** (1 + cos 2πx) / 2, from 1 at x = 0 to 0 at x = 1/2. */
const wave = (x: number): number => 0.5 * (1 + Math.cos(2 * Math.PI * x));

/** Shrinks [0, 1] to [minimum, 1]. */
const above = (minimum: number, factor: number): number => Math.max(0, factor * (1 - minimum) + minimum);

/** The peak rate throughout, after the warm-up. */
export const constant = (given: WarmupOptions = {}): Schedule =>
  warmup(declared.constant.read(given).warmupSteps, () => 1);

/** Linear from the peak to 0: the default of Hugging Face's trainers. */
export function linear(given: DecayOptions): Schedule {
  const { warmupSteps, totalSteps } = declared.linear.read(given);
  return warmup(warmupSteps, (step) => Math.max(0, 1 - progress(step, warmupSteps, totalSteps)));
}

/** A cosine from the peak to `minimum`. */
export function cosine(given: CosineOptions): Schedule {
  const { warmupSteps, totalSteps, minimum, cycles } = declared.cosine.read(given);
  return warmup(warmupSteps, (step) => above(minimum, wave(cycles * progress(step, warmupSteps, totalSteps))));
}

/** Half a cosine from the peak to 0, `cycles` times (default 1), each starting at the peak again. */
export function cosineWithRestarts(given: Given<typeof declared.cosine_with_restarts>): Schedule {
  const { warmupSteps, totalSteps, cycles } = declared.cosine_with_restarts.read(given);
  return warmup(warmupSteps, (step) => {
    const done = progress(step, warmupSteps, totalSteps);
    return done >= 1 ? 0 : wave(((cycles * done) % 1) / 2);
  });
}

/** `cosine`, but the first update has a rate: the warm-up starts at `warmupStart` (default 1 / warmupSteps). */
export function cosineWarmup(given: Given<typeof declared.cosine_warmup_with_min_lr>): Schedule {
  const { warmupSteps, totalSteps, minimum, cycles, warmupStart } = declared.cosine_warmup_with_min_lr.read(given);
  const after = ({ step }: { step: number }) =>
    above(minimum, wave((cycles * (step - warmupSteps + 1)) / Math.max(1, totalSteps - warmupSteps)));
  return (step) => {
    if (step >= warmupSteps) return after({ step });
    if (warmupStart === undefined) return (step + 1) / Math.max(1, warmupSteps);
    return warmupStart + ((1 - warmupStart) * step) / Math.max(1, warmupSteps - 1);
  };
}

/** From the peak to `minimum` (default 0) as (1 - progress) to the power of `power` (default 1). */
export function polynomial(given: Given<typeof declared.polynomial>): Schedule {
  const { warmupSteps, totalSteps, minimum, power } = declared.polynomial.read(given);
  return warmup(warmupSteps, (step) => {
    if (step > totalSteps) return minimum;
    return (1 - minimum) * (1 - progress(step, warmupSteps, totalSteps)) ** power + minimum;
  });
}

/** The peak / √(1 + (step - warmupSteps) / timescale). `timescale`: by default warmupSteps, or 10,000 without warm-up. */
export function inverseSqrt(given: Given<typeof declared.inverse_sqrt> = {}): Schedule {
  const { warmupSteps, timescale = warmupSteps || 10_000 } = declared.inverse_sqrt.read(given);
  return warmup(warmupSteps, (step) => 1 / Math.sqrt((step - warmupSteps) / timescale + 1));
}

const RAMPS = {
  linear: (x: number) => x,
  cosine: (x: number) => 1 - wave(x / 2),
  '1-sqrt': (x: number) => 1 - Math.sqrt(1 - x),
} as const;
const FALLS = {
  linear: (x: number) => 1 - x,
  cosine: (x: number, cycles: number) => wave(cycles * x),
  '1-sqrt': (x: number) => 1 - Math.sqrt(x),
} as const;

/** Up, level, and down at the end (arXiv 2404.06395). */
export function warmupStableDecay(given: WarmupStableDecayOptions): Schedule {
  const { warmupSteps, totalSteps, decaySteps, minimum, cycles, ...more } = declared.warmup_stable_decay.read(given);
  const { stableSteps = totalSteps - warmupSteps - decaySteps, warmupType, decayType } = more;
  const decayStart = warmupSteps + stableSteps;
  return (step) => {
    if (step < warmupSteps) return above(minimum, RAMPS[warmupType](step / Math.max(1, warmupSteps)));
    if (step < decayStart) return 1;
    if (step >= decayStart + decaySteps) return minimum;
    return above(minimum, FALLS[decayType]((step - decayStart) / Math.max(1, decaySteps), cycles));
  };
}

/** Schedules by their Hugging Face `lr_scheduler_type` names. Those that look at a metric are `metricSchedules`. */
export const schedules = {
  constant: (_: DecayOptions) => constant(),
  constant_with_warmup: (options: DecayOptions) => constant(options),
  linear,
  cosine,
  cosine_with_restarts: cosineWithRestarts,
  cosine_with_min_lr: cosine,
  cosine_warmup_with_min_lr: cosineWarmup,
  polynomial,
  inverse_sqrt: (options: DecayOptions & Given<typeof declared.inverse_sqrt>) => inverseSqrt(options),
  warmup_stable_decay: warmupStableDecay,
} as const;

/** A schedule of the learning rate by its Hugging Face name. */
export type ScheduleName = keyof typeof schedules;

/** What a schedule takes besides the length of the run and of its warm-up. */
export type ScheduleSettings<Name extends ScheduleName = ScheduleName> = Name extends ScheduleName
  ? Omit<Parameters<(typeof schedules)[Name]>[0], keyof DecayOptions>
  : never;

/** A schedule by name. @throws PosttrainError for a name that does not exist, OptionError for a setting */
export function scheduleByName<Name extends ScheduleName>(
  name: Name,
  given: DecayOptions & ScheduleSettings<Name>,
): Schedule {
  if (!Object.hasOwn(schedules, name)) {
    throw new PosttrainError('SCHEDULE', `no schedule "${name}"; there are ${Object.keys(schedules).join(', ')}`);
  }
  const read = declared[name].read as (given: DecayOptions) => DecayOptions;
  const make = schedules[name] as (options: DecayOptions) => Schedule;
  return make(read(given));
}
