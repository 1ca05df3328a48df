import { PosttrainError } from '@posttrain/interfaces';

/** Learning rate of update `step`, counted from 0, as a fraction of the peak. */
export type Schedule = (step: number) => number;

export interface WarmupOptions {
  /** Updates over which the rate rises linearly from 0. Default 0. */
  readonly warmupSteps?: number;
}

export interface DecayOptions extends WarmupOptions {
  /** Updates in the whole run. */
  readonly totalSteps: number;
}

function warmup(warmupSteps: number, then: Schedule): Schedule {
  return (step) => (step < warmupSteps ? step / Math.max(1, warmupSteps) : then(step));
}

function progress(step: number, warmupSteps: number, totalSteps: number): number {
  return (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
}

/** The peak rate throughout, after the warm-up. */
export const constant = ({ warmupSteps = 0 }: WarmupOptions = {}): Schedule => warmup(warmupSteps, () => 1);

/** Linear from the peak to 0: the default of Hugging Face's trainers. */
export const linear = ({ warmupSteps = 0, totalSteps }: DecayOptions): Schedule =>
  warmup(warmupSteps, (step) => Math.max(0, 1 - progress(step, warmupSteps, totalSteps)));

/** Half a cosine from the peak to `minimum` (a fraction of the peak, default 0). */
export const cosine = ({ warmupSteps = 0, totalSteps, minimum = 0 }: DecayOptions & { minimum?: number }): Schedule =>
  warmup(warmupSteps, (step) => {
    const wave = 0.5 * (1 + Math.cos(Math.PI * progress(step, warmupSteps, totalSteps)));
    return Math.max(0, wave * (1 - minimum) + minimum);
  });

/** Schedules by their Hugging Face `lr_scheduler_type` names. */
export const schedules = {
  constant: (_: DecayOptions) => constant(),
  constant_with_warmup: (options: DecayOptions) => constant(options),
  linear,
  cosine,
} as const;

export type ScheduleName = keyof typeof schedules;

/** A schedule by name; throws for a name that does not exist. */
export function scheduleByName(name: ScheduleName, options: DecayOptions): Schedule {
  const make = Object.hasOwn(schedules, name) ? schedules[name] : undefined;
  if (!make) {
    throw new PosttrainError('SCHEDULE', `no schedule "${name}"; there are ${Object.keys(schedules).join(', ')}`);
  }
  return make(options);
}
