import { type Tensor, where } from '@posttrain/core-tensor';
import type { LinearLayer, RowInputsSpec } from '@posttrain/lm';
import { inputOf } from '../adapters/row-inputs.js';

const START = 'invocationStart';

/** Further on than any sequence. */
const NEVER = 2 ** 31 - 1;

/**
 * Activated LoRA (arXiv 2504.12397): y = W x + b + m · s·B·A·x with m = 1 from the invocation tokens on and 0 before them, so that
 * what is before them has the keys and values of the base and of every other such adapter. A sequence without them is the base's.
 *
 * `invocationStart` of a sequence is where they last begin in what it starts with: the prompt in generation, the whole
 * sequence in training and scoring. Who knows better gives it; -1 is never. A training row without them, which PEFT lets pass
 * with a gradient of zero, is refused unless it says -1 itself.
 */
export const activatedFrom = (invocation: readonly number[]): RowInputsSpec => ({
  names: [START],
  of(tokens, { [START]: start = lastPlace(tokens, invocation) }) {
    return { [START]: start < 0 ? NEVER : start };
  },
  idle(tokens, { [START]: start }) {
    if (start !== undefined || lastPlace(tokens, invocation) >= 0) return undefined;
    return `it has none of the invocation tokens ${invocation.join(', ')}, so aLoRA would train nothing on it: put them in, or say adapterInputs: { ${START}: -1 }`;
  },
  untouched: ({ [START]: start }) => start!,
});

function lastPlace(tokens: readonly number[], part: readonly number[]): number {
  for (let start = tokens.length - part.length; start >= 0; start--) {
    if (part.every((token, i) => tokens[start + i] === token)) return start;
  }
  return -1;
}

/** An update [b, s, out] of a layer where it acts, and 0 before. */
export function sinceInvocation(update: Tensor, layer: LinearLayer): Tensor {
  const { value: start, pass } = inputOf(layer, START);
  return where(pass.positions.greaterEqual(start).expandDims(2), update, 0);
}
