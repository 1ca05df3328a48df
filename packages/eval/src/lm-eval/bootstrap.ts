import { PythonRandom } from '@posttrain/interfaces/random';

/**
 * Standard error by bootstrap as lm-evaluation-harness draws it (`bootstrap_stderr`): in chunks of at most 1000 resamples, chunk i with
 * `random.Random(i)`; the sample standard deviation of what `of` gives for them. `null` with fewer than two values or resamples.
 */
export function lmEvalBootstrap<T>(
  values: readonly T[],
  iterations: number,
  of: (resample: readonly T[]) => number,
): number | null {
  const size = Math.min(1000, iterations);
  const chunks = size > 0 ? Math.floor(iterations / size) : 0;
  if (values.length < 2 || size * chunks < 2) return null;
  const results: number[] = [];
  for (let chunk = 0; chunk < chunks; chunk++) {
    const random = new PythonRandom(chunk);
    for (let i = 0; i < size; i++) results.push(of(random.choices(values, values.length)));
  }
  const mean = results.reduce((sum, value) => sum + value, 0) / results.length;
  const squares = results.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (results.length - 1));
}
