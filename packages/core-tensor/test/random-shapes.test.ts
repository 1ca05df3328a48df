import fc from 'fast-check';
import { describe, it } from 'vitest';
import { concat, type DType, type Shape, scatterAdd, type Tensor, where } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { type CaseInput, type ConformanceCase, defineCase, indices, sample } from '../src/testing/case.js';
import { CaseChecker } from '../src/testing/check-case.js';

const dimension = fc.constantFrom(0, 1, 1, 2, 3, 4);
const shape = (minLength: number, maxLength = 4): fc.Arbitrary<Shape> => fc.array(dimension, { minLength, maxLength });
const dtype = fc.constantFrom<DType>('float32', 'float32', 'int32', 'float16', 'uint8', 'bool');
const numeric = fc.constantFrom<DType>('float32', 'float32', 'int32', 'float16', 'int8');

/** A shape that broadcasts with the given one: some leading axes dropped, some axes 1. */
const broadcastable = (to: Shape): fc.Arbitrary<Shape> =>
  fc
    .tuple(fc.nat(to.length), fc.array(fc.boolean(), { minLength: to.length, maxLength: to.length }))
    .map(([drop, ones]) => to.map((dim, i) => (ones[i] ? 1 : dim)).slice(drop));

const axisOf = (of: Shape) => fc.integer({ min: -of.length, max: of.length - 1 });
const permutationOf = (of: Shape) =>
  fc.shuffledSubarray(
    of.map((_, i) => i),
    { minLength: of.length, maxLength: of.length },
  );
const subsetOf = (of: Shape) => fc.subarray(of.map((_, i) => i));

type Run = (...inputs: Tensor[]) => Tensor | readonly Tensor[];
const one = (op: string, inputs: readonly CaseInput[], note: string, run: Run): ConformanceCase =>
  defineCase(op, inputs, run, { note });

const cases: fc.Arbitrary<ConformanceCase> = fc.oneof(
  fc
    .tuple(shape(0), numeric)
    .chain(([full, type]) => fc.tuple(broadcastable(full), broadcastable(full), fc.constant(type)))
    .map(([a, b, type]) =>
      one('add', [sample(a, type), sample(b, type, { seed: 1 })], '', (x, y) => x!.add(y!).mul(y!)),
    ),
  fc
    .tuple(shape(0, 3), dtype)
    .chain(([full, type]) => fc.tuple(broadcastable(full), broadcastable(full), broadcastable(full), fc.constant(type)))
    .map(([c, a, b, type]) =>
      one('where', [sample(c, 'bool'), sample(a, type), sample(b, type, { seed: 1 })], '', (x, y, z) =>
        where(x!, y!, z!),
      ),
    ),
  fc
    .tuple(shape(0), dtype)
    .chain(([s, type]) => fc.tuple(fc.constant(s), fc.constant(type), permutationOf(s)))
    .map(([s, type, order]) => one('transpose', [sample(s, type)], order.join(), (x) => x!.transpose(order))),
  fc
    .tuple(shape(0), numeric)
    .chain(([s, type]) => fc.tuple(fc.constant(s), fc.constant(type), subsetOf(s), fc.boolean()))
    .map(([s, type, axes, keepDims]) =>
      one('sum', [sample(s, type)], `${axes} ${keepDims}`, (x) => {
        const isEmpty = axes.some((axis) => s[axis] === 0);
        return [x!.sum(axes, { keepDims }), ...(isEmpty ? [] : [x!.max(axes, { keepDims })])];
      }),
    ),
  fc
    .tuple(shape(1), dtype)
    .chain(([s, type]) =>
      fc.tuple(fc.constant(s), fc.constant(type), axisOf(s), fc.nat(4), fc.nat(4), fc.integer({ min: 1, max: 3 })),
    )
    .map(([s, type, axis, a, b, step]) => {
      const size = s.at(axis)!;
      const [start, end] = [Math.min(a, b, size), Math.min(Math.max(a, b), size)];
      return one('slice', [sample(s, type)], `${axis} ${start}:${end}:${step}`, (x) =>
        x!.slice(axis, start, end, step),
      );
    }),
  fc
    .tuple(shape(1, 3), dtype)
    .chain(([s, type]) => fc.tuple(fc.constant(s), fc.constant(type), axisOf(s), fc.nat(2), fc.nat(2)))
    .map(([s, type, axis, low, high]) =>
      one('pad', [sample(s, type)], `${axis} ${low} ${high}`, (x) => x!.pad(axis, low, high, 1)),
    ),
  fc
    .tuple(shape(1, 3), dtype)
    .chain(([s, type]) =>
      fc.tuple(fc.constant(s), fc.constant(type), axisOf(s), fc.array(dimension, { minLength: 2, maxLength: 3 })),
    )
    .map(([s, type, axis, sizes]) => {
      const at = axis < 0 ? axis + s.length : axis;
      const parts = sizes.map((size, seed) => sample(s.with(at, size), type, { seed }));
      return one('concat', parts, `${axis}`, (...x) => concat(x, axis));
    }),
  fc
    .tuple(shape(1, 3), shape(0, 2), dtype)
    .chain(([s, at, type]) =>
      fc.tuple(fc.constant(s.map((dim) => Math.max(1, dim))), fc.constant(at), fc.constant(type), axisOf(s)),
    )
    .map(([s, at, type, axis]) =>
      one('gather', [sample(s, type), indices(at, s.at(axis)!)], `${axis}`, (x, i) => x!.gather(i!, axis)),
    ),
  fc
    .tuple(shape(0, 2), shape(0, 2), shape(0, 2), numeric)
    .map(([before, at, after, type]) =>
      one('scatterAdd', [indices(at, 3), sample([...before, ...at, ...after], type)], '', (i, u) =>
        scatterAdd(i!, u!, { axis: before.length, size: 3 }),
      ),
    ),
  fc
    .tuple(shape(0, 2), dimension, dimension, dimension, fc.boolean(), fc.boolean())
    .chain(([batch, m, k, n, transposeA, transposeB]) =>
      fc.tuple(
        broadcastable(batch),
        broadcastable(batch),
        fc.constant([m, k, n] as const),
        fc.constant({ transposeA, transposeB }),
      ),
    )
    .map(([a, b, [m, k, n], flags]) =>
      one(
        'matmul',
        [
          sample([...a, ...(flags.transposeA ? [k, m] : [m, k])]),
          sample([...b, ...(flags.transposeB ? [n, k] : [k, n])], 'float32', { seed: 1 }),
        ],
        JSON.stringify(flags),
        (x, y) => x!.matmul(y!, flags),
      ),
    ),
);

describe('random shapes', () => {
  it('give what the reference engine gives, values and gradients', async () => {
    const engine = onnxruntimeEngine();
    await fc.assert(
      fc.asyncProperty(fc.array(cases, { minLength: 100, maxLength: 120 }), async (list) => {
        const checker = new CaseChecker(list);
        for (const each of list) {
          try {
            await checker.checkForward(engine, each);
            if (each.variables.length > 0) await checker.checkGradient(engine, each);
          } catch (error) {
            throw new Error(`${each.name}: ${(error as Error).message}`, { cause: error });
          }
        }
      }),
      { numRuns: 4, seed: 11, endOnFailure: true },
    );
  });
});
