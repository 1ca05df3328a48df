let seconds = 0;

/**
 * Seconds that this process has spent on making functions ready to run, on any engine: tracing, simplifying, lowering and what the runtime
 * does with a graph when it gets it. The difference of two readings is what was compiled between them.
 */
export const compileSeconds = (): number => seconds;

/** Adds what `work` takes to `compileSeconds`. Works run one after the other, so no time is counted twice. */
export async function compiling<T>(work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  try {
    return await work();
  } finally {
    seconds += (performance.now() - startedAt) / 1000;
  }
}
