import { backward } from '../autodiff/backward.js';
import { compile } from '../compile.js';
import { type DType, decodeNumbers, isFloat } from '../dtype.js';
import type { Engine } from '../engines/engine.js';
import { referenceEngine } from '../engines/reference/engine.js';
import { showShape } from '../shape.js';
import { fromHost, type Tensor } from '../tensor.js';
import { type CaseInput, type ConformanceCase, sample } from './case.js';
import { onEngine } from './on-engine.js';

/** |a - b| ≤ tolerance · (1 + |b|). Storage types and everything that is not a float must agree exactly. */
const TOLERANCES: Readonly<Record<DType, number>> = {
  float32: 3e-6,
  float16: 2e-3,
  bfloat16: 0,
  int32: 0,
  int8: 0,
  uint8: 0,
  bool: 0,
};

/** For gradients in float32, which are compared with difference quotients in float64. */
const GRADIENT_TOLERANCE = 5e-5;
/** For gradients computed in double precision: what the difference quotient itself gets wrong. */
const DIFFERENCE_TOLERANCE = 1e-6;
const STEP = 1e-4;
/** Elements of one input whose difference quotients are taken; spread evenly over larger inputs. */
const DIFFERENCES_PER_INPUT = 12;

const reference = referenceEngine();

interface Values {
  readonly spec: string;
  readonly dtype: DType;
  readonly numbers: ArrayLike<number>;
  /** Whether the engine computes in float64. */
  readonly isDouble: boolean;
}

const toTensor = ({ data, shape, dtype }: CaseInput): Tensor => fromHost(data.slice(), shape, dtype);

async function valuesOf(tensors: readonly Tensor[]): Promise<Values[]> {
  const all: Values[] = [];
  for (const x of tensors) {
    const data = await x.data();
    all.push({
      spec: x.toString(),
      dtype: x.dtype,
      numbers: decodeNumbers(data, x.dtype),
      isDouble: data instanceof Float64Array,
    });
  }
  return all;
}

/** What a check computes of a case. */
type Computation = (one: ConformanceCase, tensors: readonly Tensor[]) => readonly Tensor[];

const forwardOf: Computation = ({ run }, tensors) => run(...tensors);

/** Runs a computation of several cases as one graph: one list of values a case. */
function runOn(engine: Engine, cases: readonly ConformanceCase[], compute: Computation): Promise<Values[][]> {
  return onEngine(engine, async () => {
    const compiled = compile((inputs: Tensor[][]) => cases.map((one, i) => [...compute(one, inputs[i]!)]));
    try {
      const results: Values[][] = [];
      for (const tensors of await compiled(cases.map(({ inputs }) => inputs.map(toTensor)))) {
        results.push(await valuesOf(tensors));
      }
      return results;
    } finally {
      await compiled.dispose();
    }
  });
}

/** Throws unless `got` equals `wanted` within the tolerance, NaN for NaN and infinity for infinity. */
export function expectClose(what: string, got: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number): void {
  if (got.length !== wanted.length) throw new Error(`${what}: ${got.length} elements, not ${wanted.length}`);
  for (let i = 0; i < wanted.length; i++) {
    const [a, b] = [got[i]!, wanted[i]!];
    const close = a === b || (Number.isNaN(a) && Number.isNaN(b)) || Math.abs(a - b) <= tolerance * (1 + Math.abs(b));
    if (!close) throw new Error(`${what}: element ${i} is ${a}, not ${b} (tolerance ${tolerance})`);
  }
}

function expectSame(got: readonly Values[], wanted: readonly Values[], tolerance?: number): void {
  wanted.forEach(({ spec, dtype, numbers }, i) => {
    if (got[i]?.spec !== spec) throw new Error(`output ${i} is ${got[i]?.spec}, not ${spec}`);
    expectClose(`output ${i}, ${spec}`, got[i]!.numbers, numbers, tolerance ?? TOLERANCES[dtype]);
  });
}

/** Checks cases of one engine. They are compiled together, which is many times faster than one by one. */
export class CaseChecker {
  #forward: Promise<Map<ConformanceCase, Values[]>> | undefined;
  #gradient: Promise<Map<ConformanceCase, Values[]>> | undefined;
  readonly #cases: readonly ConformanceCase[];

  constructor(cases: readonly ConformanceCase[]) {
    this.#cases = cases;
  }

  /** Throws unless the engine gives what the reference engine gives. */
  async checkForward(engine: Engine, one: ConformanceCase): Promise<void> {
    this.#forward ??= runTogether(engine, this.#cases, forwardOf);
    const [wanted] = await runOn(reference, [one], forwardOf);
    expectSame(await resultOf(this.#forward, engine, one, forwardOf), wanted!, one.tolerance);
  }

  /**
   * Throws unless the gradient of a random combination of the outputs, computed on the engine, is right: against
   * central differences on the reference engine in float64, and for float16, whose rounding has no differences,
   * against the reference engine's gradient.
   */
  async checkGradient(engine: Engine, one: ConformanceCase): Promise<void> {
    this.#gradient ??= runTogether(
      engine,
      this.#cases.filter(({ variables }) => variables.length > 0),
      gradientsOf,
    );
    const got = await resultOf(this.#gradient, engine, one, gradientsOf);
    if (one.inputs.some(({ dtype }) => dtype === 'float16')) {
      const [wanted] = await runOn(reference, [one], gradientsOf);
      expectSame(got, wanted!, one.tolerance ?? 4 * TOLERANCES.float16);
    } else {
      await expectDifferences(one, got);
    }
  }
}

/** The results of all cases; none where one of the cases made the graph fail, to be found by running each alone. */
async function runTogether(
  engine: Engine,
  cases: readonly ConformanceCase[],
  compute: Computation,
): Promise<Map<ConformanceCase, Values[]>> {
  const results = await runOn(engine, cases, compute).catch(() => []);
  return new Map(results.map((values, i) => [cases[i]!, values]));
}

async function resultOf(
  together: Promise<Map<ConformanceCase, Values[]>>,
  engine: Engine,
  one: ConformanceCase,
  compute: Computation,
): Promise<Values[]> {
  return (await together).get(one) ?? (await runOn(engine, [one], compute))[0]!;
}

/** Σ over the float outputs of output · weights: the scalar whose gradient is checked. */
function weightedSum(outputs: readonly Tensor[]): { outputs: Tensor[]; cotangents: Tensor[] } {
  const floats = outputs.filter(({ dtype }) => dtype === 'float32' || dtype === 'float16');
  return {
    outputs: floats,
    cotangents: floats.map(({ shape, dtype }, i) => toTensor(sample(shape, dtype, { seed: 7 + i }))),
  };
}

function gradientsOf({ run, variables }: ConformanceCase, tensors: readonly Tensor[]): Tensor[] {
  const { outputs, cotangents } = weightedSum(run(...tensors));
  return backward(
    outputs,
    cotangents,
    variables.map((at) => tensors[at]!),
  );
}

async function expectDifferences(one: ConformanceCase, got: readonly Values[]): Promise<void> {
  const { inputs, variables } = one;
  for (const [k, at] of variables.entries()) {
    const { shape, dtype, data } = inputs[at]!;
    const wanted = `Tensor(${dtype}${showShape(shape)})`;
    const gradient = got[k]!;
    if (gradient.spec !== wanted) throw new Error(`the gradient of input ${at} is ${gradient.spec}, not ${wanted}`);
    if (gradient.numbers.length !== data.length)
      throw new Error(`the gradient of input ${at} has ${gradient.numbers.length} elements`);
    const count = Math.min(data.length, DIFFERENCES_PER_INPUT);
    const elements = Array.from({ length: count }, (_, i) => Math.floor((i * data.length) / count));
    const differences = await centralDifferences(one, at, elements);
    expectClose(
      `gradient of input ${at}, elements ${elements.join(' ')}`,
      elements.map((element) => gradient.numbers[element]!),
      differences,
      gradient.isDouble ? DIFFERENCE_TOLERANCE : (one.tolerance ?? GRADIENT_TOLERANCE),
    );
  }
}

/** (L(x + h) - L(x - h)) / 2h for some elements of one input, in float64. */
function centralDifferences(
  { inputs, run }: ConformanceCase,
  at: number,
  elements: readonly number[],
): Promise<number[]> {
  return onEngine(reference, async () => {
    const loss = compile((tensors: Tensor[]) => {
      const { outputs, cotangents } = weightedSum(run(...tensors));
      return outputs.map((y, i) => y.mul(cotangents[i]!).sum());
    });
    const evaluate = async (element: number, step: number): Promise<number> => {
      const tensors = inputs.map(({ data, shape, dtype }, i) => {
        const values = isFloat(dtype) && dtype !== 'bfloat16' ? Float64Array.from(data) : data.slice();
        if (i === at) values[element]! += step;
        return fromHost(values, shape, dtype);
      });
      const terms = await loss(tensors);
      let total = 0;
      for (const term of terms) total += await term.item();
      return total;
    };
    const result: number[] = [];
    for (const element of elements) {
      result.push(((await evaluate(element, STEP)) - (await evaluate(element, -STEP))) / (2 * STEP));
    }
    return result;
  });
}
