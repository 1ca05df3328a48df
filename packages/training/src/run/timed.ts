import type { Metrics } from '../tracking/metrics.js';

/** A step with the metric `step_time`, in seconds, as TRL logs it. */
export const timed =
  (step: (index: number, signal: AbortSignal | undefined) => Promise<Metrics>) =>
  async (index: number, signal: AbortSignal | undefined): Promise<Metrics> => {
    const startedAt = Date.now();
    const metrics = await step(index, signal);
    return { ...metrics, step_time: (Date.now() - startedAt) / 1000 };
  };
