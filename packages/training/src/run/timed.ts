import { compileSeconds } from '@posttrain/core-tensor';
import type { Metrics } from '../tracking/metrics.js';

/** A step with the metric `step_time`, in seconds, as TRL logs it, without what was spent on compiling. */
export const timed =
  (step: (index: number, signal: AbortSignal | undefined) => Promise<Metrics>) =>
  async (index: number, signal: AbortSignal | undefined): Promise<Metrics> => {
    const [startedAt, compiled] = [performance.now(), compileSeconds()];
    const metrics = await step(index, signal);
    return {
      ...metrics,
      step_time: Math.max(0, (performance.now() - startedAt) / 1000 - (compileSeconds() - compiled)),
    };
  };
