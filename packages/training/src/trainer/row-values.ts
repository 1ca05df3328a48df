import { Tensor } from '@posttrain/core-tensor';
import type { Readout, ReadoutValue } from '../loss/loss.js';
import type { RowBatch, TrainingRow } from '../loss/rows.js';

/** A readout's numbers, row by row: one array a row, or one for each of its tensors. */
export type ValuesOfRows<T extends ReadoutValue> = T extends Tensor
  ? readonly Float32Array[]
  : { readonly [Name in keyof T]: readonly Float32Array[] };

interface PlannedPass {
  readonly rows: readonly TrainingRow[];
  readonly batch: RowBatch;
  readonly dropoutKey: Tensor;
}

const ENTRIES = {
  row: () => 1,
  token: ({ tokens }: TrainingRow) => tokens.length,
  prediction: ({ tokens }: TrainingRow) => tokens.length - 1,
} as const;

/** Reads all passes and puts what they give in the order of the rows. */
export async function rowValues<T extends ReadoutValue, P extends PlannedPass>(
  rows: readonly TrainingRow[],
  { per }: Readout<T>,
  passes: readonly P[],
  read: (pass: P) => Promise<T>,
): Promise<ValuesOfRows<T>> {
  // One object may stand in several places.
  const places = new Map<TrainingRow, number[]>();
  rows.forEach((row, i) => {
    places.set(row, [...(places.get(row) ?? []), i]);
  });
  const results: Record<string, Float32Array[]> = {};
  let isSingle = false;
  for (const pass of passes) {
    const value = await read(pass);
    isSingle = value instanceof Tensor;
    const named: Readonly<Record<string, Tensor>> = value instanceof Tensor ? { value } : value;
    const at = pass.rows.map((row) => places.get(row)!.shift()!);
    for (const [name, tensor] of Object.entries(named)) {
      results[name] ??= new Array<Float32Array>(rows.length);
      const width = tensor.shape.slice(1).reduce((a, x) => a * x, 1);
      const each = per === 'row' ? width : width / tensor.shape[1]!;
      const numbers = await tensor.data();
      pass.rows.forEach((row, i) => {
        const from = i * width;
        results[name]![at[i]!] = Float32Array.from(numbers.subarray(from, from + ENTRIES[per](row) * each));
      });
    }
  }
  return (isSingle ? results.value : results) as unknown as ValuesOfRows<T>;
}
