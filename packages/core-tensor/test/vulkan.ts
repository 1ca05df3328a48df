import { existsSync } from 'node:fs';
import koffi from 'koffi';
import { loadOnnxruntime } from '../src/engines/onnxruntime/native/library.js';

/** A Vulkan driver that computes on the CPU, and a loader, as Chromium packages them. */
const DRIVER = '/usr/lib/chromium/vk_swiftshader_icd.json';
const LOADER = '/usr/lib/chromium/libvulkan.so.1';

/** A library is unloaded when nothing refers to it. */
const loaded: unknown[] = [];

/**
 * Makes SwiftShader the Vulkan driver of this process. Gives the reason when that is not possible. Who calls it is
 * isolated in `vitest.config.ts`, so no other test sees it.
 */
export async function useSwiftShader(): Promise<string | undefined> {
  if (!existsSync(DRIVER)) return `no ${DRIVER} (Debian's chromium-common has it)`;
  process.env.VK_ICD_FILENAMES = DRIVER;
  // First, because it sets up how native calls are made.
  await loadOnnxruntime();
  if (existsSync(LOADER)) loaded.push(koffi.load(LOADER, { global: true }));
  return undefined;
}
