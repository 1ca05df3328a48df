import { barrier } from '../autodiff/barrier.js';
import { DTYPES } from '../dtype.js';
import type { Shape } from '../shape.js';
import { type ConformanceCase, defineCase, sample } from './case.js';

/** Cases of the primitive that orders execution. */
export const barrierCases = {
  barrier: (): ConformanceCase[] => {
    const ordered = (shape: Shape, tokens: readonly Shape[], note: string) =>
      defineCase(
        'barrier',
        [sample(shape), ...tokens.map((token, i) => sample(token, 'float32', { seed: i + 1 }))],
        (x, ...after) => barrier(x!, after),
        { note },
      );
    return [
      ...DTYPES.map((dtype) => defineCase('barrier', [sample([2, 3], dtype)], (x) => barrier(x!, [x!]))),
      ordered([2, 3], [[4]], 'a token of another shape'),
      ordered([], [[]], 'scalars'),
      ordered([2, 3], [[], [1, 5], [2]], 'several tokens'),
      ordered([2, 3], [], 'no token'),
      ordered([0, 3], [[2]], 'nothing to pass on'),
      ordered([2, 3], [[0]], 'an empty token'),
      defineCase(
        'barrier',
        [sample([2, 3]), sample([3, 2], 'float32', { seed: 1 })],
        (x, y) => x!.tanh().mul(barrier(x!, [x!.matmul(y!)]).tanh()),
        { note: 'computed again behind it' },
      ),
      defineCase('barrier', [sample([2, 3])], (x) => barrier(x!.reshape([3, 2]), [x!.sum()]).reshape([6]), {
        note: 'between reshapes',
      }),
    ];
  },
};
