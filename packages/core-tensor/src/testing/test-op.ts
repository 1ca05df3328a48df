import { currentEngine } from '../engines/current.js';
import { type Shape, showShape } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { type CaseOptions, type ConformanceCase, defineCase, type SampleOptions, sample } from './case.js';
import { CaseChecker } from './check-case.js';

/** Options of `testOp`. */
export interface TestOpOptions
  extends Pick<CaseOptions, 'tolerance' | 'variables'>,
    Pick<SampleOptions, 'low' | 'high'> {
  /** For each case the shapes of its inputs, float32 numbers from `low` to `high`. Have an empty axis among them, and one of 1. */
  readonly inputs: readonly (readonly Shape[])[];
}

/**
 * Registers the checks that every operation of one's own (`defineOp`) must pass, with the test function of any framework:
 * `testOp(it, 'me/sort-rows', (x) => sortRows([x!]), { inputs: [[[2, 5]], [[0, 4]]] })`. They run on the current engine.
 *
 * - it gives what it gives on the reference engine, in a compiled graph, alone and between primitives;
 * - its gradient is that of its values, by central differences in float64.
 */
export function testOp(
  it: (name: string, body: () => Promise<void>) => void,
  name: string,
  op: (...inputs: Tensor[]) => Tensor | readonly Tensor[],
  { inputs, low, high, ...options }: TestOpOptions,
): void {
  const range = { ...(low !== undefined && { low }), ...(high !== undefined && { high }) };
  const check = (one: ConformanceCase, where: string) => {
    it(`${name} ${where} gives what it gives on the reference engine`, () =>
      new CaseChecker([one]).checkForward(currentEngine(), one));
    if (one.variables.length === 0) return;
    it(`${name} ${where} has the gradient of its values`, () =>
      new CaseChecker([one]).checkGradient(currentEngine(), one));
  };
  for (const shapes of inputs) {
    const numbers = shapes.map((shape, seed) => sample(shape, 'float32', { ...range, seed }));
    const of = `of ${shapes.map((shape) => showShape(shape)).join(', ')}`;
    check(defineCase(name, numbers, op, options), of);
    const between = (...tensors: Tensor[]) => {
      const outputs = [op(...tensors.map((x) => x.neg().neg()))].flat() as Tensor[];
      return outputs.map((y) => (y.dtype === 'float32' ? y.mul(2) : y));
    };
    check(defineCase(name, numbers, between, { ...options, note: 'between primitives' }), `${of}, between primitives,`);
  }
}
