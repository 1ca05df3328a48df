import { describe, expect, it } from 'vitest';
import { loadKernels } from '../src/engines/onnxruntime/native/kernels.js';
import * as coreTensor from '../src/index.js';
import { referenceEngine } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import * as quantization from '../src/quantization/index.js';
import { badCalls, conformanceCases, testEngine } from '../src/testing/index.js';
import { tfjsEngine } from '../src/tfjs.js';
import { checkConformanceFile } from './conformance-file.js';

const runner = { describe, it };
const reports = [
  testEngine({
    name: 'onnxruntime',
    create: () => onnxruntimeEngine(),
    runner,
  }),
  testEngine({ name: 'reference', create: referenceEngine, runner }),
  testEngine({ name: 'tfjs wasm', create: () => tfjsEngine({ backend: 'wasm' }), runner }),
  testEngine({ name: 'tfjs cpu', create: () => tfjsEngine({ backend: 'cpu' }), runner }),
];

// Named, the kernels of our own compute every product, however small. They are no engine of their own in the table.
const kernels = await loadKernels();
if ('missing' in kernels) it('onnxruntime with kernels of our own', (context) => context.skip(kernels.missing));
else {
  const create = () => onnxruntimeEngine({ cpuKernels: kernels.fastest.float32 });
  testEngine({ name: 'onnxruntime with kernels of our own', create, runner });
}

describe('the suite', () => {
  it('has cases of different names', () => {
    const names = conformanceCases().map(({ name }) => name);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });
  it('has cases of every fused kernel', () => {
    const kernels = Object.values({ ...coreTensor, ...quantization }).flatMap((value) =>
      typeof value === 'object' && 'decompose' in value ? [value.name] : [],
    );
    const ops = new Set(conformanceCases().map(({ op }) => op));
    expect(kernels.length).toBeGreaterThan(6);
    expect(kernels.filter((name) => !ops.has(name))).toEqual([]);
  });
  it.each(badCalls().map((bad) => [`${bad.op}: ${bad.code} ${bad.names.join(' ')}`, bad] as const))(
    'refuses %s',
    (_, { call, code, names }) => {
      let error: unknown;
      try {
        call();
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toMatchObject({ code });
      for (const name of names) expect((error as Error).message).toContain(name);
    },
  );
});

for (const report of reports) checkConformanceFile(report);
