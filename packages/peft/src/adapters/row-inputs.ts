import type { Tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import type { LinearLayer, PassInfo, RowInputsSpec } from '@posttrain/lm';

/**
 * What the adapter reads of the sequence of each token, int32 [b, s], and the pass that it is of.
 *
 * @throws PosttrainError where a pass does not say it, or in an expert, whose rows are in no order
 */
export function inputOf(
  { name, pass, rows }: Pick<LinearLayer, 'name' | 'pass' | 'rows'>,
  input: string,
): { readonly value: Tensor; readonly pass: PassInfo } {
  const value = pass?.inputs[input];
  if (rows) {
    throw new PosttrainError(
      'ADAPTER_INPUTS',
      `${name} is an expert's, whose rows an adapter that reads ${input} cannot tell apart`,
    );
  }
  if (pass && value) return { value, pass };
  throw new PosttrainError(
    'ADAPTER_INPUTS',
    `${name}: the adapter reads ${input} of every sequence, which this pass does not say`,
  );
}

/** The name of the task of a sequence, as PEFT has it. */
export const TASK = 'taskIds';

/** A method that reads the task of every sequence, of which there are `count`. */
export const taskInputs = (method: string, count: number): RowInputsSpec => ({
  names: [TASK],
  of(_, { [TASK]: task }) {
    if (task !== undefined && task >= 0 && task < count) return { [TASK]: task };
    const problem = task === undefined ? 'is missing' : `is ${task}`;
    throw new PosttrainError(
      'ADAPTER_INPUTS',
      `${TASK} ${problem}: ${method} needs the task of every sequence, 0 to ${count - 1}`,
    );
  },
});
