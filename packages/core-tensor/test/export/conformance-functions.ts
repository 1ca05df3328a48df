import { fromHost, type Tensor } from '../../src/tensor.js';
import { conformanceCases } from '../../src/testing/index.js';

/** Every second input of a case is captured, and so an initializer. */
const isCaptured = (position: number): boolean => position % 2 === 1;

/** The cases of operations that a file can hold: those with a forward in TypeScript are refused, which has a test of its own. */
export const exportableCases = () => conformanceCases().filter(({ op }) => op !== 'operation of one’s own');

/** All these cases as one function, with arguments for it and the case of every output. */
export function conformanceFunction(cases = exportableCases()) {
  const inputs = cases.map((one) => one.inputs.map(({ data, shape, dtype }) => fromHost(data.slice(), shape, dtype)));
  const given = inputs.map((tensors) => tensors.filter((_, i) => !isCaptured(i)));
  const f = (argument: typeof given): Tensor[][] =>
    cases.map((one, i) => {
      const rest = [...argument[i]!];
      return [...one.run(...inputs[i]!.map((x, position) => (isCaptured(position) ? x : rest.shift()!)))];
    });
  return {
    f,
    args: [given] as [typeof given],
    names: cases.flatMap((one, i) => one.run(...inputs[i]!).map(() => one.name)),
  };
}
