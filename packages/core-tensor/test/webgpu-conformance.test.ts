import { describe, it } from 'vitest';
import { onnxruntimeEngine } from '../src/index.js';
import { testEngine } from '../src/testing/index.js';
import { useSwiftShader } from './vulkan.js';

await useSwiftShader();

testEngine({
  name: 'webgpu',
  create: () => onnxruntimeEngine({ device: 'webgpu' }),
  runner: { describe, it },
});
