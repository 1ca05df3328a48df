import { referenceEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { describe, it } from 'vitest';
import { GENERATORS, testIsolation } from './isolation.js';

describe.each([
  // Rounding may turn a draw, where doubles do not.
  ['reference', referenceEngine, [0, 1]],
  ['onnxruntime', onnxruntimeEngine, [0]],
] as const)('a request that goes wrong concerns itself only: %s', (_, engine, temperatures) => {
  it.each(Object.entries(GENERATORS))('%s', (__, options) =>
    testIsolation(engine, options, { temperatures, runs: 150, seed: 11 }),
  );
});
