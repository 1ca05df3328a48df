import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tensor, valueAndGrad } from '@posttrain/core-tensor';
import { type AnyLoss, annotationSpec, liftTokenLoss, type TrainingRow } from '@posttrain/training';
import { expect } from 'vitest';

export const goldenFolder = join(import.meta.dirname, '../../../goldens');

export const readGolden = <T>(name: string, folder = 'rl'): T =>
  JSON.parse(readFileSync(join(goldenFolder, folder, name), 'utf8')) as T;

export type Grid = readonly (readonly number[])[];

/** A loss on rows of one width whose per-prediction log-probabilities and entropies are given, and its gradients. */
export async function evaluateLoss(
  given: AnyLoss,
  rows: readonly TrainingRow[],
  logProbs: Grid,
  entropies: Grid,
  /** Of predictions; where it is left out, no part of the loss sums along sequences. */
  { segmentsOfRows }: { readonly segmentsOfRows?: Grid } = {},
) {
  const loss = 'computeFrom' in given ? given : liftTokenLoss(given);
  const width = rows[0]!.tokens.length - 1;
  const grid = (values: readonly ArrayLike<number>[]) =>
    tensor(Float32Array.from(values.flatMap((row) => Array.from(row))), [rows.length, width]);
  const annotations = Object.fromEntries(
    loss.annotations.map((one) => {
      const { name } = annotationSpec(one);
      return [name, grid(rows.map((row) => row.annotations![name]!))];
    }),
  );
  const weights = grid(rows.map((row) => row.weights));
  const variables = { logProbs: grid(logProbs), entropies: grid(entropies) };
  const { value, gradient } = valueAndGrad((x: typeof variables) => {
    const isGreedy = x.logProbs.mul(0);
    const inputs = {
      weights,
      annotations,
      scalars: {},
      segments: segmentsOfRows ? grid(segmentsOfRows).cast('int32') : weights,
    };
    const result = loss.computeFrom(() => ({ ...x, isGreedy, logSumExps: isGreedy }) as never, inputs);
    return [result.loss, result.metrics] as const;
  })(variables);
  const [total, metrics] = value;
  const named = await Promise.all(Object.entries(metrics).map(async ([name, x]) => [name, await x.item()] as const));
  return {
    loss: await total.item(),
    metrics: Object.fromEntries(named) as Record<string, number>,
    gradient: await gradient.logProbs.toArray(),
    entropiesGradient: await gradient.entropies.toArray(),
  };
}

export function expectClose(
  actual: readonly number[],
  expected: readonly number[],
  tolerance: number,
  what = '',
): void {
  expect(actual.length, what).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!), `${what}[${i}]: ${value}, not ${expected[i]}`).toBeLessThanOrEqual(
      tolerance,
    );
  });
}
