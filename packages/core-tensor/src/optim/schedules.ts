import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';

/** Learning rate of update `step`, counted from 0, as a fraction of the peak. */
export type Schedule = (step: number) => number;

/** Options of a schedule that warms up. */
export interface WarmupOptions {
  /** Updates over which the rate rises linearly from 0. Default 0. */
  readonly warmupSteps?: number;
}

/** Options of a schedule that ends with the run. */
export interface DecayOptions extends WarmupOptions {
  /** Updates in the whole run. */
  readonly totalSteps: number;
}

/** Options of the cosine schedule. */
export interface CosineOptions extends DecayOptions {
  /** The lowest rate, as a fraction of the peak. Default 0. */
  readonly minimum?: number;
  /** Waves between warm-up and end. Default 0.5: from the peak down to the minimum, once. */
  readonly cycles?: number;
}

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
export const constant = ({ warmupSteps = 0 }: WarmupOptions = {}): Schedule => warmup(warmupSteps, () => 1);

/** Linear from the peak to 0: the default of Hugging Face's trainers. */
export const linear = ({ warmupSteps = 0, totalSteps }: DecayOptions): Schedule =>
  warmup(warmupSteps, (step) => Math.max(0, 1 - progress(step, warmupSteps, totalSteps)));

/** A cosine from the peak to `minimum`. */
export const cosine = ({ warmupSteps = 0, totalSteps, minimum = 0, cycles = 0.5 }: CosineOptions): Schedule =>
  warmup(warmupSteps, (step) => above(minimum, wave(cycles * progress(step, warmupSteps, totalSteps))));

/** Half a cosine from the peak to 0, `cycles` times (default 1), each starting at the peak again. */
export const cosineWithRestarts = ({
  warmupSteps = 0,
  totalSteps,
  cycles = 1,
}: DecayOptions & { readonly cycles?: number }): Schedule =>
  warmup(warmupSteps, (step) => {
    const done = progress(step, warmupSteps, totalSteps);
    return done >= 1 ? 0 : wave(((cycles * done) % 1) / 2);
  });

/** `cosine`, but the first update has a rate: the warm-up starts at `warmupStart` (default 1 / warmupSteps). */
export const cosineWarmup = ({
  warmupSteps = 0,
  totalSteps,
  minimum = 0,
  cycles = 0.5,
  warmupStart,
}: CosineOptions & { readonly warmupStart?: number }): Schedule => {
  const after = ({ step }: { step: number }) =>
    above(minimum, wave((cycles * (step - warmupSteps + 1)) / Math.max(1, totalSteps - warmupSteps)));
  return (step) => {
    if (step >= warmupSteps) return after({ step });
    if (warmupStart === undefined) return (step + 1) / Math.max(1, warmupSteps);
    return warmupStart + ((1 - warmupStart) * step) / Math.max(1, warmupSteps - 1);
  };
};

/** From the peak to `minimum` (default 0) as (1 - progress) to the power of `power` (default 1). */
export const polynomial = ({
  warmupSteps = 0,
  totalSteps,
  minimum = 0,
  power = 1,
}: DecayOptions & { readonly minimum?: number; readonly power?: number }): Schedule =>
  warmup(warmupSteps, (step) => {
    if (step > totalSteps) return minimum;
    return (1 - minimum) * (1 - progress(step, warmupSteps, totalSteps)) ** power + minimum;
  });

/** The peak / √(1 + (step - warmupSteps) / timescale). `timescale`: by default warmupSteps, or 10,000 without warm-up. */
export const inverseSqrt = ({
  warmupSteps = 0,
  timescale = warmupSteps || 10_000,
}: WarmupOptions & { readonly timescale?: number } = {}): Schedule =>
  warmup(warmupSteps, (step) => 1 / Math.sqrt((step - warmupSteps) / timescale + 1));

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

/** Options of the warm-up, stable, decay schedule. */
export interface WarmupStableDecayOptions extends CosineOptions {
  /** Updates of the decay. */
  readonly decaySteps: number;
  /** Updates at the peak. Default: what warm-up and decay leave of the run. */
  readonly stableSteps?: number;
  /** Form of the warm-up, which starts at `minimum`. Default `linear`. */
  readonly warmupType?: keyof typeof RAMPS;
  /** Form of the decay, which ends at `minimum`. Default `cosine`. */
  readonly decayType?: keyof typeof FALLS;
}

/** Up, level, and down at the end (arXiv 2404.06395). */
export function warmupStableDecay(options: WarmupStableDecayOptions): Schedule {
  const { warmupSteps = 0, totalSteps, decaySteps, minimum = 0, cycles = 0.5 } = options;
  const { stableSteps = totalSteps - warmupSteps - decaySteps, warmupType = 'linear', decayType = 'cosine' } = options;
  if (decaySteps === undefined) throw new PosttrainError('SCHEDULE', 'warmup_stable_decay needs decaySteps');
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
  inverse_sqrt: (options: DecayOptions & { readonly timescale?: number }) => inverseSqrt(options),
  warmup_stable_decay: warmupStableDecay,
} as const;

/** A schedule of the learning rate by its Hugging Face name. */
export type ScheduleName = keyof typeof schedules;

/** What a schedule takes besides the length of the run and of its warm-up. */
export type ScheduleSettings<Name extends ScheduleName = ScheduleName> = Name extends ScheduleName
  ? Omit<Parameters<(typeof schedules)[Name]>[0], keyof DecayOptions>
  : never;

const COSINE = ['minimum', 'cycles'];
const SETTINGS: Readonly<Record<ScheduleName, readonly string[]>> = {
  constant: [],
  constant_with_warmup: [],
  linear: [],
  cosine: COSINE,
  cosine_with_restarts: ['cycles'],
  cosine_with_min_lr: COSINE,
  cosine_warmup_with_min_lr: [...COSINE, 'warmupStart'],
  polynomial: ['minimum', 'power'],
  inverse_sqrt: ['timescale'],
  warmup_stable_decay: [...COSINE, 'decaySteps', 'stableSteps', 'warmupType', 'decayType'],
};

/** A schedule by name. @throws PosttrainError for a name or a setting that does not exist */
export function scheduleByName<Name extends ScheduleName>(
  name: Name,
  options: DecayOptions & ScheduleSettings<Name>,
): Schedule {
  if (!Object.hasOwn(schedules, name)) {
    throw new PosttrainError('SCHEDULE', `no schedule "${name}"; there are ${Object.keys(schedules).join(', ')}`);
  }
  assertKnownOptions(name, options, ['warmupSteps', 'totalSteps', ...SETTINGS[name]]);
  const make = schedules[name] as (options: DecayOptions) => Schedule;
  return make(options);
}
