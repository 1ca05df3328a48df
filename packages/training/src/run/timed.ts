import type { Metrics } from './training-options.js';

/** A step with the metric `step_time`, in seconds, as TRL logs it. */
export const timed =
  (step: (index: number) => Promise<Metrics>) =>
  async (index: number): Promise<Metrics> => {
    const startedAt = Date.now();
    const metrics = await step(index);
    return { ...metrics, step_time: (Date.now() - startedAt) / 1000 };
  };
