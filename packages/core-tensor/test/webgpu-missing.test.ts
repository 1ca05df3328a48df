import { expect, it } from 'vitest';
import { device } from '../src/onnxruntime.js';

it('WebGPU without a driver says what to install', async () => {
  // As on a machine without a graphics driver: the Vulkan loader finds no description of one.
  process.env.VK_ICD_FILENAMES = '/nonexistent/driver.json';
  process.env.VK_DRIVER_FILES = '/nonexistent/driver.json';
  const started = device('webgpu');
  if (process.platform === 'linux') {
    await expect(started).rejects.toThrow(/device webgpu cannot start: .*apt install libvulkan1/s);
  } else {
    await started.catch((error: Error) => expect(error.message).toMatch(/device webgpu cannot start/));
  }
});
