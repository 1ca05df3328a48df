import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../../errors.js';
import { DeviceMemory } from './device-memory.js';
import type { OrtEnvironment } from './native/environment.js';
import type { OrtApi, Pointer } from './native/library.js';
import { CUDA_PROVIDER, ONNXRUNTIME_VERSION } from './native/locate.js';
import { NativeSession, type Provider } from './native/session.js';
import { encodeModel, onnxTypes } from './proto.js';

export const ONNXRUNTIME_DEVICES = ['cpu', 'webgpu', 'cuda'] as const;
/** A device of ONNX Runtime. */
export type OnnxruntimeDevice = (typeof ONNXRUNTIME_DEVICES)[number];

interface DeviceKind {
  /** Adds the provider to the options of a session; the nodes of these names stay on the CPU. */
  append(api: OrtApi, options: Pointer, onCpu: readonly string[]): void;
  /** The name of its memory in ONNX Runtime. */
  readonly memory: string;
  /** What to do when it does not start. */
  remedy(message: string): string;
}

const INSTALL_CUDA =
  `run \`ONNXRUNTIME_NODE_INSTALL=cuda12 npm install onnxruntime-node@${ONNXRUNTIME_VERSION}\` (Linux x64; its install ` +
  'script downloads the CUDA provider from NuGet), and install the NVIDIA driver, CUDA 12 and cuDNN 9';

const webgpu: DeviceKind = {
  memory: 'WebGPU_Buf',
  append: (api, options, onCpu) =>
    appendByName(api, options, 'WebGPU', {
      preferredLayout: 'NCHW',
      ...(onCpu.length > 0 ? { forceCpuNodeNames: onCpu.join('\n') } : {}),
    }),
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
    const file = join(api.folder, CUDA_PROVIDER);
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

const DEVICE_KINDS: Readonly<Record<Exclude<OnnxruntimeDevice, 'cpu'>, DeviceKind>> = { webgpu, cuda };

/** The execution provider of a device, for one session. */
export const providerOf = (device: Exclude<OnnxruntimeDevice, 'cpu'>, onCpu: readonly string[] = []): Provider => ({
  append: (api, options) => DEVICE_KINDS[device].append(api, options, onCpu),
});

function appendByName(api: OrtApi, options: Pointer, name: string, settings: Readonly<Record<string, string>>): void {
  const entries = Object.entries(settings);
  const keys = api.texts(entries.map(([key]) => key));
  const values = api.texts(entries.map(([, value]) => value));
  api.appendExecutionProvider(options, name, keys.addresses, values.addresses, entries.length);
}

export interface StartedDevice {
  readonly memory: DeviceMemory;
  /** Whether its kernels compute with float16. */
  readonly hasFloat16: boolean;
}

/** Starts a device. Throws what is wrong and what to do about it. */
export async function startDevice(
  environment: OrtEnvironment,
  device: Exclude<OnnxruntimeDevice, 'cpu'>,
  threads: number,
): Promise<StartedDevice> {
  const kind = DEVICE_KINDS[device];
  try {
    // Never released: the allocator is its own, and the memory of every tensor the allocator's.
    const session = await castSession(environment, device, threads, onnxTypes.int32);
    const memory = DeviceMemory.over(environment, session.pointer, kind.memory);
    return { memory, hasFloat16: device === 'cuda' || (await computesFloat16(environment, memory, threads)) };
  } catch (cause) {
    const message = (cause as Error).message.replace(/^onnxruntime: /, '');
    throw new EngineError('onnxruntime', `device ${device} cannot start: ${kind.remedy(message)}`, { cause });
  }
}

/** A session of one node. */
function castSession(
  environment: OrtEnvironment,
  device: Exclude<OnnxruntimeDevice, 'cpu'>,
  threads: number,
  to: number,
): Promise<NativeSession> {
  const type = to === onnxTypes.float16 ? 'float16' : 'int32';
  const model = encodeModel({
    nodes: [{ op: 'Cast', inputs: ['x'], outputs: ['y'], attributes: { to: { int: to } } }],
    inputs: [{ name: 'x', type: 'float32', shape: [1] }],
    outputs: [{ name: 'y', type, shape: [1] }],
  });
  const names = { inputs: ['x'], outputs: ['y'] };
  return NativeSession.create(environment, model, names, { threads, provider: providerOf(device), isQuiet: true });
}

/** Not every GPU has float16 (WebGPU's feature `shader-f16`), and the provider says so only when a kernel runs. */
async function computesFloat16(environment: OrtEnvironment, memory: DeviceMemory, threads: number): Promise<boolean> {
  const session = await castSession(environment, 'webgpu', threads, onnxTypes.float16);
  const [x, y] = [
    memory.upload(Float32Array.of(1), { shape: [1], dtype: 'float32' }),
    memory.allocate({ shape: [1], dtype: 'float16' }),
  ];
  try {
    await session.run([x.value()], [y.value()]);
    return true;
  } catch {
    return false;
  } finally {
    memory.free(x);
    memory.free(y);
    session.release();
  }
}
