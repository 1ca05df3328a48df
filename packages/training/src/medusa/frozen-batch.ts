import { type Tensor, tensor } from '@posttrain/core-tensor';
import { type CausalLM, hiddenStates } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';

/** The rows of update `at`: in order, from the start again after the last. */
export const rowsOfUpdate = (rows: readonly TrainingRow[], batchSize: number, at: number): TrainingRow[] =>
  Array.from({ length: batchSize }, (_, i) => rows[(at * batchSize + i) % rows.length]!);

/** The final, normalised hidden states [rows, longest, width] that a frozen model has of rows; zeros behind them. */
export async function frozenStates(model: CausalLM, rows: readonly TrainingRow[], longest: number): Promise<Tensor> {
  const states = await hiddenStates(
    model,
    rows.map(({ tokens }) => tokens),
  );
  const { hiddenSize } = model.config;
  const hidden = new Float32Array(rows.length * longest * hiddenSize);
  for (const [i, ofRow] of states.entries()) {
    for (const [t, state] of ofRow.entries()) hidden.set(state, (i * longest + t) * hiddenSize);
  }
  return tensor(hidden, [rows.length, longest, hiddenSize]);
}
