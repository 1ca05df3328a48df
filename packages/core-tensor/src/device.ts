import { type Given, integer, options } from '@posttrain/interfaces';
import { compile } from './compile.js';
import type { Engine } from './engines/engine.js';
import { onnxruntimeEngine } from './engines/onnxruntime/engine.js';
import { EngineError } from './errors.js';
import { fromHost, type Tensor } from './tensor.js';

/** `tfjs-node-gpu`: an NVIDIA card through the package `@tensorflow/tfjs-node-gpu`. */
export const DEVICES = ['cpu', 'webgpu', 'cuda', 'tfjs-node-gpu'] as const;
/** A device that can be asked for. */
export type DeviceName = (typeof DEVICES)[number];

const deviceOptions = options('device', {
  /** Threads that one operation may use on the CPU. Default: as many as the process may run on. */
  threads: integer({ optional: true, min: 1 }),
});
/** Options of `device`. */
export type DeviceOptions = Given<typeof deviceOptions>;

/** What became of one device. */
export interface DeviceTrial {
  readonly device: DeviceName;
  readonly taken: boolean;
  /** One sentence. */
  readonly why: string;
}

/** The device that `device` chose, with its engine and why. */
export interface ChosenDevice {
  readonly device: DeviceName;
  /** Give it to `setEngine`. */
  readonly engine: Engine;
  /** Every device that was tried, in order, and why it was taken or not. */
  readonly trials: readonly DeviceTrial[];
}

/** The order of `auto`: fastest first where present. */
const PREFERENCE = ['cuda', 'webgpu', 'tfjs-node-gpu'] as const;

/**
 * The engine of a device that works: `setEngine((await device('auto')).engine)`.
 *
 * `auto` tries `cuda`, `webgpu` and `tfjs-node-gpu` in this order, and takes the first that starts and multiplies two
 * matrices [1024, 1024] faster than the CPU, result read included. (A driver that computes on the CPU passes for a GPU in
 * every other respect.) Where none does, it takes the CPU. `trials` says what was tried and why it was taken or not.
 *
 * @throws EngineError when the device that was asked for does not start: what is missing, and what to install
 */
export async function device(name: DeviceName | 'auto' = 'auto', given: DeviceOptions = {}): Promise<ChosenDevice> {
  const options = deviceOptions.read(given);
  if (name !== 'auto') {
    const engine = await start(name, options);
    return { device: name, engine, trials: [{ device: name, taken: true, why: 'it was asked for and it works' }] };
  }
  const cpu = await start('cpu', options);
  const atMost = await secondsOfProduct(cpu, SIZE);
  const trials: DeviceTrial[] = [];
  for (const candidate of PREFERENCE) {
    const { engine, why } = await tryDevice(candidate, options, atMost);
    trials.push({ device: candidate, taken: engine !== undefined, why });
    if (engine) return { device: candidate, engine, trials };
  }
  return {
    device: 'cpu',
    engine: cpu,
    trials: [...trials, { device: 'cpu', taken: true, why: 'no GPU here is faster' }],
  };
}

async function start(name: DeviceName, options: DeviceOptions): Promise<Engine> {
  if (!DEVICES.includes(name)) {
    throw new EngineError('device', `there is no device "${name}"; there are auto, ${DEVICES.join(', ')}`);
  }
  if (name === 'tfjs-node-gpu') {
    const { tfjsEngine } = await import('./tfjs.js');
    return tfjsEngine({ backend: name });
  }
  const engine = onnxruntimeEngine({ device: name, ...options });
  await engine.start();
  return engine;
}

async function tryDevice(
  name: DeviceName,
  options: DeviceOptions,
  atMost: number,
): Promise<{ engine?: Engine; why: string }> {
  const milliseconds = (seconds: number) => `${(1000 * seconds).toPrecision(2)} ms`;
  try {
    const engine = await start(name, options);
    const small = await secondsOfProduct(engine, SMALL_SIZE);
    if (small > SLOW) {
      const times = `a product of ${SMALL_SIZE} x ${SMALL_SIZE} took ${milliseconds(small)}`;
      return { why: `it works, but is no GPU: ${times}` };
    }
    const seconds = await secondsOfProduct(engine, SIZE);
    const times = `its product took ${milliseconds(seconds)}, the CPU's ${milliseconds(atMost)}`;
    return seconds < atMost ? { engine, why: times } : { why: `it works, but is no faster than the CPU: ${times}` };
  } catch (error) {
    return { why: (error as Error).message };
  }
}

const SIZE = 1024;
/** Asked first, because a program that acts as a GPU takes minutes for the large product. */
const SMALL_SIZE = 256;
/** Seconds that no GPU needs for the small product. */
const SLOW = 0.02;
const REPETITIONS = 3;

/**
 * Synchronised timing: the shortest of a few times that a product takes, its sum read by the host, as devices run
 * asynchronously.
 */
async function secondsOfProduct(engine: Engine, size: number): Promise<number> {
  const product = compile((a: Tensor) => a.matmul(a).sum(), { engine });
  const a = fromHost(new Float32Array(size * size).fill(1 / size), [size, size], 'float32');
  let shortest = Number.POSITIVE_INFINITY;
  // The first runs compile kernels and move the operand over.
  for (let i = -2; i < REPETITIONS; i++) {
    const started = performance.now();
    const total = await (await product(a)).item();
    if (Math.abs(total - size) > 1e-2 * size) {
      throw new EngineError(engine.name, `device ${engine.device} computes a wrong product: ${total}, not ${size}`);
    }
    if (i >= 0) shortest = Math.min(shortest, (performance.now() - started) / 1000);
  }
  await product.dispose();
  await a.dispose();
  return shortest;
}
