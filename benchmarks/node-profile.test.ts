import { expect, it } from 'vitest';
import { nodeKinds, productFlops } from './node-profile.js';

it('counts products whichever factor is transposed, and with leading axes', () => {
  expect(productFlops([5, 7], [7, 3], [5, 3])).toBeCloseTo(2 * 5 * 7 * 3);
  expect(productFlops([7, 5], [3, 7], [5, 3])).toBeCloseTo(2 * 5 * 7 * 3);
  expect(productFlops([2, 4, 7], [7, 3], [2, 4, 3])).toBeCloseTo(2 * 8 * 7 * 3);
  expect(productFlops([2, 6, 4, 7], [2, 6, 3, 7], [2, 6, 4, 3])).toBeCloseTo(2 * 12 * 4 * 7 * 3);
});

it('adds up the smallest time of every node', () => {
  const event = (name: string, op: string, dur: number) => ({
    ...{ cat: 'Node', name: `${name}_kernel_time`, dur },
    args: { op_name: op, output_type_shape: [{ float: [2, 3] }] },
  });
  const { kinds, runs } = nodeKinds([
    ...[event('a', 'Mul', 5000), event('b', 'Mul', 2000), event('c', 'Add', 1000)],
    ...[event('a', 'Mul', 3000), event('b', 'Mul', 4000), event('c', 'Add', 9000)],
    { cat: 'Session', name: 'model_run', dur: 1e6 },
  ]);
  expect(runs).toBe(2);
  expect(kinds).toEqual([
    { name: 'Mul 2×3', op: 'Mul', nodes: 2, milliseconds: 5, gigaflops: 0 },
    { name: 'Add 2×3', op: 'Add', nodes: 1, milliseconds: 1, gigaflops: 0 },
  ]);
});
