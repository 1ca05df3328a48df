import { describe, it } from 'vitest';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { testEngine } from '../src/testing/index.js';
import { checkConformanceFile } from './conformance-file.js';
import { useSwiftShader } from './vulkan.js';

/** WGSL lets a device assume that there is no NaN: these are SwiftShader's answers, others give NaN. */
const NOT_A_NUMBER = 'WGSL leaves NaN to the device';
const skip = Object.fromEntries(
  [
    'exp float32[9] special values: forward',
    'log float32[7] special values: forward',
    'pow float32[6] float32[6] special values: forward',
    'sigmoid float32[9] special values: forward',
    'known value 9, log',
    'known value 34, pow',
  ].map((name) => [name, NOT_A_NUMBER]),
);

const missing = await useSwiftShader();

if (missing === undefined) {
  const report = testEngine({
    name: 'webgpu',
    create: () => onnxruntimeEngine({ device: 'webgpu' }),
    runner: { describe, it },
    skip,
  });
  checkConformanceFile(report);
} else {
  describe('engine webgpu', () => {
    it('passes the conformance suite', (context) => context.skip(missing));
  });
}
