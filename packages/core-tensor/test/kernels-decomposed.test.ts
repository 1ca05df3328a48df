import { beforeAll, describe, expect, it } from 'vitest';
import { type Engine, setEngine } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { conformanceCases } from '../src/testing/cases.js';
import { CaseChecker } from '../src/testing/check-case.js';
import { kernelCases } from '../src/testing/kernel-cases.js';
import { byOp } from '../src/testing/test-engine.js';

/** An engine on its first day: it has the primitives and overrides no kernel. */
function primitivesOnly(): Engine {
  const inner = onnxruntimeEngine({ threads: 1 });
  return {
    ...inner,
    name: 'primitives only',
    kernels: new Set(),
    compile: (graph, options) => {
      expect(graph.nodes.filter(({ op }) => op === 'kernel')).toEqual([]);
      return inner.compile(graph, options);
    },
  };
}

const fused = [...byOp(conformanceCases())].filter(([op]) => op in kernelCases);

it('covers every fused kernel', () => {
  expect(fused.map(([op]) => op)).toEqual(Object.keys(kernelCases));
});

describe.each(fused)('%s, from primitives', (_, cases) => {
  const checker = new CaseChecker(cases);
  const engine = primitivesOnly();
  beforeAll(() => setEngine(engine));

  it.each(cases)('$name', async (one) => {
    await checker.checkForward(engine, one);
    if (one.variables.length > 0) await checker.checkGradient(engine, one);
  });
});
