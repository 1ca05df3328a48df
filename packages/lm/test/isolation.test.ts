import { onnxruntimeEngine, referenceEngine } from '@posttrain/core-tensor';
import { describe, it } from 'vitest';
import { GENERATORS, testIsolation } from './isolation.js';

const { plain: _, ...others } = GENERATORS;

describe('a request that goes wrong concerns itself only', () => {
  // Rounding may turn a draw, where doubles do not.
  it('reference', () =>
    testIsolation(referenceEngine, GENERATORS['a draft']!, { temperatures: [0, 1], runs: 5, seed: 10 }));
  it.each(Object.entries(others))('onnxruntime, %s', (__, options) =>
    testIsolation(onnxruntimeEngine, options, { temperatures: [0], runs: 5, seed: 10 }),
  );
});
