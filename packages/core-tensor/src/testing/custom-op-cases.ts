import { defineOp } from '../kernels/define-op.js';
import { addAlongAxis, type Tensor } from '../tensor.js';
import { type ConformanceCase, defineCase, sample } from './case.js';

/** An operation of somebody else's, which no engine knows: rows in ascending order, and where their elements come from. */
const sortRows = defineOp({
  name: 'conformance/sort-rows',
  infer: ([x]) => [x!, { shape: x!.shape, dtype: 'int32' }],
  lower: {
    host: ([x]) => {
      const width = x!.shape.at(-1)!;
      const from = Int32Array.from(x!.data, (_, i) => i % width);
      for (let start = 0; start < from.length; start += width) {
        const row = x!.data.subarray(start, start + width);
        from.subarray(start, start + width).sort((a, b) => row[a]! - row[b]!);
      }
      return [Array.from(from, (at, i) => x!.data[i - (i % width) + at]!), from];
    },
  },
  vjp: ({ inputs: [x], outputs: [, from], cotangents: [dy] }) => [
    dy && addAlongAxis(from!, dy, { axis: -1, size: x!.shape.at(-1)! }),
  ],
});

/** Forwards in plain TypeScript, which cut the graph, on every engine. */
export function customOpCases(): ConformanceCase[] {
  const sorted = (x: Tensor) => sortRows([x]);
  return [
    defineCase('operation of one’s own', [sample([2, 5])], (x) => sorted(x!)),
    defineCase('operation of one’s own', [sample([0, 4])], (x) => sorted(x!)),
    defineCase('operation of one’s own', [sample([3, 4])], (x) => sorted(sorted(x!.mul(2))[0]!.neg())[0]!.exp(), {
      note: 'behind another, between primitives',
    }),
  ];
}
