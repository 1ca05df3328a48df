import { type Tensor, tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { type CausalLM, hiddenStates } from '@posttrain/lm';
import type { TrainingRow } from '../loss/rows.js';
import { NonFiniteError } from '../trainer/non-finite-error.js';

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

/** The loss of a step. @throws NonFiniteError */
export function finiteLoss(where: string, step: number, loss: number): number {
  if (Number.isFinite(loss)) return loss;
  throw NonFiniteError.ofHeads(where, step, loss);
}

/**
 * The rows of which something can be learnt: those with a learnt token from the place `first` on; and how many have none, as short answers.
 *
 * @throws PosttrainError with the code, where none are left
 */
export function longEnough(
  where: string,
  code: string,
  rows: readonly TrainingRow[],
  first: number,
  what: string,
): { readonly rows: readonly TrainingRow[]; readonly dropped: number } {
  const kept = rows.filter(({ weights }) => Array.from(weights).some((weight, t) => t + 1 >= first && weight > 0));
  if (kept.length > 0) return { rows: kept, dropped: rows.length - kept.length };
  const problem = rows.length === 0 ? 'there are no rows' : `none of ${rows.length} rows has a learnt token ${what}`;
  const remedy = `a row needs one that is at least ${first} places after its first: give longer ones, the prompt's tokens among them with weight 0`;
  throw new PosttrainError(code, `${where}: ${problem}; ${remedy}.`);
}
