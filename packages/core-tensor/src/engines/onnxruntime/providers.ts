import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EngineError } from '../../errors.js';
import { DeviceMemory } from './device-memory.js';
import type { OrtEnvironment } from './native/environment.js';
import { libraryPath, type OrtApi, type Pointer } from './native/library.js';
import { NativeSession, type Provider } from './native/session.js';
import { encodeModel } from './proto.js';

export const ONNXRUNTIME_DEVICES = ['cpu', 'webgpu', 'cuda'] as const;
export type OnnxruntimeDevice = (typeof ONNXRUNTIME_DEVICES)[number];

interface DeviceKind extends Provider {
  /** The name of its memory in ONNX Runtime. */
  readonly memory: string;
  /** What to do when it does not start. */
  remedy(message: string): string;
}

const INSTALL_CUDA =
  'run `ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node` (Linux x64; it downloads the CUDA provider), and ' +
  'install the NVIDIA driver, CUDA 12 and cuDNN 9';

const webgpu: DeviceKind = {
  memory: 'WebGPU_Buf',
  append: (api, options) => appendByName(api, options, 'WebGPU', { preferredLayout: 'NCHW' }),
  remedy: (message) => {
    if (!/adapter/i.test(message)) return message;
    if (process.platform !== 'linux') return `${message} No graphics driver was found: install the one of this GPU`;
    return (
      `${message} No Vulkan device was found. Install the loader (Debian: \`apt install libvulkan1\`) and a Vulkan driver ` +
      'of this GPU (NVIDIA: its own driver; AMD and Intel: `apt install mesa-vulkan-drivers`); in a container, pass the ' +
      'GPU and its driver files in (NVIDIA: NVIDIA_DRIVER_CAPABILITIES=all); `vulkaninfo` must list the device. ' +
      'No display is needed'
    );
  },
};

const cuda: DeviceKind = {
  memory: 'Cuda',
  append: (api, options) => {
    const file = join(dirname(libraryPath()), 'libonnxruntime_providers_cuda.so');
    if (!existsSync(file)) throw new EngineError('onnxruntime', `there is no CUDA provider (${file})`);
    const settings = api.make('createCudaProviderOptions');
    try {
      api.appendCudaProvider(options, settings);
    } finally {
      api.releaseCudaProviderOptions(settings);
    }
  },
  remedy: (message) => `${message}; ${INSTALL_CUDA}`,
};

export const DEVICE_KINDS: Readonly<Record<Exclude<OnnxruntimeDevice, 'cpu'>, DeviceKind>> = { webgpu, cuda };

function appendByName(api: OrtApi, options: Pointer, name: string, settings: Readonly<Record<string, string>>): void {
  const entries = Object.entries(settings);
  const keys = api.texts(entries.map(([key]) => key));
  const values = api.texts(entries.map(([, value]) => value));
  api.appendExecutionProvider(options, name, keys.addresses, values.addresses, entries.length);
}

/** Starts a device and gives its memory. Throws what is wrong and what to do about it. */
export async function startDevice(
  environment: OrtEnvironment,
  device: Exclude<OnnxruntimeDevice, 'cpu'>,
  threads: number,
): Promise<DeviceMemory> {
  const kind = DEVICE_KINDS[device];
  const value = { type: 'float32', shape: [1] } as const;
  const model = encodeModel({
    nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
    inputs: [{ name: 'x', ...value }],
    outputs: [{ name: 'y', ...value }],
  });
  const names = { inputs: ['x'], outputs: ['y'] };
  try {
    // Never released: the allocator is its own, and the memory of every tensor the allocator's.
    const session = await NativeSession.create(environment, model, names, { threads, provider: kind });
    return DeviceMemory.over(environment, session.pointer, kind.memory);
  } catch (cause) {
    const message = (cause as Error).message.replace(/^onnxruntime: /, '');
    throw new EngineError('onnxruntime', `device ${device} cannot start: ${kind.remedy(message)}`, { cause });
  }
}
