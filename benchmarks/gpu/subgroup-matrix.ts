import { createRequire } from 'node:module';
import { float16ToFloat32, float32ToFloat16 } from '@posttrain/core-tensor';
import { largestError } from './native.js';
import type { Figures } from './own-engine.js';

/** Dawn's settings for float16 and subgroup matrices on NVIDIA cards; neither is on by default. */
const TOGGLES = ['allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia', 'use_vulkan_memory_model'];
const ENABLED = `enable-dawn-features=${TOGGLES.join(',')}`;
const FEATURES = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];

/** The part of the package `webgpu` that is used, and of the WebGPU objects it gives. */
interface WebGpu {
  create(options: readonly string[]): { requestAdapter(options?: object): Promise<Adapter | null> };
  readonly globals: Record<string, unknown>;
}

interface Adapter {
  readonly features: ReadonlySet<string>;
  readonly limits: Readonly<Record<string, number>>;
  readonly info: {
    readonly vendor: string;
    readonly architecture: string;
    readonly device: string;
    readonly description: string;
    readonly subgroupMinSize?: number;
    readonly subgroupMaxSize?: number;
    readonly subgroupMatrixConfigs?: readonly MatrixConfig[];
  };
  requestDevice(options: object): Promise<Device>;
}

/** One product the hardware makes: [M, K] × [K, N]. */
interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

interface GpuBuffer {
  mapAsync(mode: number): Promise<void>;
  getMappedRange(): ArrayBuffer;
  destroy(): void;
}

interface Device {
  readonly queue: {
    writeBuffer(buffer: GpuBuffer, offset: number, data: ArrayBufferView): void;
    submit(commands: readonly unknown[]): void;
    onSubmittedWorkDone(): Promise<void>;
  };
  createBuffer(options: { size: number; usage: number }): GpuBuffer;
  createShaderModule(options: { code: string }): {
    getCompilationInfo(): Promise<{ messages: readonly { type: string; lineNum: number; message: string }[] }>;
  };
  createComputePipelineAsync(options: object): Promise<{ getBindGroupLayout(index: number): unknown }>;
  createBindGroup(options: object): unknown;
  createCommandEncoder(): {
    beginComputePass(): {
      setPipeline(pipeline: unknown): void;
      setBindGroup(index: number, group: unknown): void;
      dispatchWorkgroups(x: number, y: number): void;
      end(): void;
    };
    copyBufferToBuffer(from: GpuBuffer, a: number, to: GpuBuffer, b: number, bytes: number): void;
    finish(): unknown;
  };
}

const STORAGE = 0x80;
const COPY_SOURCE = 0x4;
const COPY_TARGET = 0x8;
const MAP_READ = 0x1;

/** Tiles of the result that one subgroup makes, down and across; subgroups a workgroup. */
const TILES = { down: 4, across: 4, subgroups: 4 };

/**
 * c [n, n] = a [n, n] · b [n, n]. Dawn has had two spellings of load and store: with the order as a template argument, and
 * in older versions as an argument (`false` is row by row).
 */
function shader({ M, N, K, resultComponentType }: MatrixConfig, n: number, spelling: 'template' | 'argument'): string {
  const range = (count: number) => Array.from({ length: count }, (_, i) => i);
  const load = (type: string, from: string, offset: string) =>
    spelling === 'argument'
      ? `subgroupMatrixLoad<${type}>(&${from}, ${offset}, false, ${n}u)`
      : `subgroupMatrixLoad<${type}, row_major>(&${from}, ${offset}, ${n}u)`;
  const store = (offset: string, value: string) =>
    spelling === 'argument'
      ? `subgroupMatrixStore(&c, ${offset}, ${value}, false, ${n}u);`
      : `subgroupMatrixStore<row_major>(&c, ${offset}, ${value}, ${n}u);`;
  const [left, right] = [`subgroup_matrix_left<f16, ${K}, ${M}>`, `subgroup_matrix_right<f16, ${N}, ${K}>`];
  const result = `subgroup_matrix_result<${resultComponentType}, ${N}, ${M}>`;
  const [down, across] = [range(TILES.down), range(TILES.across)];
  const [height, width] = [TILES.down * M, TILES.across * N];
  return [
    'enable f16;',
    'enable subgroups;',
    'enable chromium_experimental_subgroup_matrix;',
    'diagnostic(off, chromium.subgroup_matrix_uniformity);',
    '@group(0) @binding(0) var<storage, read> a : array<f16>;',
    '@group(0) @binding(1) var<storage, read> b : array<f16>;',
    `@group(0) @binding(2) var<storage, read_write> c : array<${resultComponentType}>;`,
    `@compute @workgroup_size(${32 * TILES.subgroups})`,
    'fn main(@builtin(workgroup_id) group : vec3u, @builtin(local_invocation_index) thread : u32, @builtin(subgroup_size) size : u32) {',
    '  let subgroup = thread / size;',
    `  let row = group.y * ${height}u;`,
    `  let column = (group.x * ${TILES.subgroups}u + subgroup) * ${width}u;`,
    ...down.flatMap((i) => across.map((j) => `  var c${i}_${j} : ${result};`)),
    `  for (var k = 0u; k < ${n}u; k += ${K}u) {`,
    ...down.map((i) => `    let a${i} = ${load(left, 'a', `(row + ${i * M}u) * ${n}u + k`)};`),
    ...across.map((j) => `    let b${j} = ${load(right, 'b', `k * ${n}u + column + ${j * N}u`)};`),
    ...down.flatMap((i) =>
      across.map((j) => `    c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b${j}, c${i}_${j});`),
    ),
    '  }',
    ...down.flatMap((i) =>
      across.map((j) => `  ${store(`(row + ${i * M}u) * ${n}u + column + ${j * N}u`, `c${i}_${j}`)}`),
    ),
    '}',
  ].join('\n');
}

/** What Dawn, from the package `webgpu`, makes of this machine, and the rate of products with subgroup matrices. */
export async function subgroupMatrix(): Promise<Figures> {
  const { create, globals } = createRequire(import.meta.url)('webgpu') as WebGpu;
  Object.assign(globalThis, globals);
  const gpu = create([ENABLED]);
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new Error('Dawn finds no adapter: no Vulkan loader or no driver for it (see README.md)');
  const { info, limits } = adapter;
  const features = FEATURES.filter((feature) => adapter.features.has(feature));
  const figures: Figures = {
    adapter: `${info.vendor} ${info.architecture} ${info.device} ${info.description}`,
    subgroupSizes: [info.subgroupMinSize, info.subgroupMaxSize],
    features: [...adapter.features],
    configs: [...(info.subgroupMatrixConfigs ?? [])].map(({ M, N, K, componentType, resultComponentType }) => ({
      ...{ M, N, K, componentType, resultComponentType },
    })),
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
  };
  if (features.length < FEATURES.length) {
    const missing = FEATURES.filter((feature) => !features.includes(feature));
    const isAccepted = await compiles(create);
    return { ...figures, notRun: `the adapter lacks ${missing.join(', ')}`, 'shader compiles': isAccepted };
  }
  const device = await deviceOf(adapter);
  const usable = (info.subgroupMatrixConfigs ?? []).filter(({ componentType }) => componentType === 'f16');
  for (const config of usable) {
    const name = `${config.M}×${config.N}×${config.K} f16 → ${config.resultComponentType}`;
    try {
      figures[name] = await rateOf(device, config);
    } catch (error) {
      figures[name] = `failed: ${(error as Error).message}`;
    }
  }
  return figures;
}

const deviceOf = (adapter: Adapter): Promise<Device> =>
  adapter.requestDevice({
    requiredFeatures: FEATURES,
    requiredLimits: Object.fromEntries(
      ['maxBufferSize', 'maxStorageBufferBindingSize'].map((name) => [name, adapter.limits[name]!]),
    ),
  });

/** Whether Dawn accepts the program, asked of its backend that runs nothing. */
async function compiles(create: WebGpu['create']): Promise<string> {
  try {
    const adapter = await create(['backend=null', ENABLED]).requestAdapter();
    const config = { M: 16, N: 16, K: 16, componentType: 'f16', resultComponentType: 'f32' };
    await pipelineOf(await deviceOf(adapter!), config, 512);
    return 'yes';
  } catch (error) {
    return `no: ${(error as Error).message}`;
  }
}

async function rateOf(device: Device, config: MatrixConfig): Promise<Figures> {
  const figures: Figures = {};
  for (const n of [512, 2048, 4096]) {
    const bytes = config.resultComponentType === 'f16' ? 2 : 4;
    const buffer = (size: number, usage: number) => device.createBuffer({ size, usage });
    const numbers = () => float32ToFloat16(Float32Array.from({ length: n * n }, () => Math.random() - 0.5));
    const [hostA, hostB] = [numbers(), numbers()];
    const [a, b] = [hostA, hostB].map((data) => {
      const filled = buffer(data.byteLength, STORAGE | COPY_TARGET);
      device.queue.writeBuffer(filled, 0, data);
      return filled;
    });
    const c = buffer(bytes * n * n, STORAGE | COPY_SOURCE);
    const pipeline = await pipelineOf(device, config, n);
    const bound = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [a, b, c].map((resource, binding) => ({ binding, resource: { buffer: resource } })),
    });
    const [down, across] = [TILES.down * config.M, TILES.across * TILES.subgroups * config.N];
    const run = async (times: number) => {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bound);
      for (let i = 0; i < times; i++) pass.dispatchWorkgroups(n / across, n / down);
      pass.end();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
    };
    await run(1);
    figures[`${n} largest error`] = await errorOf(device, { a: hostA, b: hostB, c, n, bytes });
    const [calls, times] = [20, [] as number[]];
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      await run(calls);
      times.push((performance.now() - start) / 1000);
    }
    figures[`${n} GFLOP/s`] = (calls * 2 * n ** 3) / Math.min(...times) / 1e9;
    for (const used of [a!, b!, c]) used.destroy();
  }
  return figures;
}

async function pipelineOf(device: Device, config: MatrixConfig, n: number) {
  const failures: string[] = [];
  for (const spelling of ['template', 'argument'] as const) {
    const module = device.createShaderModule({ code: shader(config, n, spelling) });
    const { messages } = await module.getCompilationInfo();
    const errors = messages.filter(({ type }) => type === 'error');
    if (errors.length === 0) {
      return device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    }
    failures.push(`${spelling}: ${errors.map(({ lineNum, message }) => `line ${lineNum}: ${message}`).join('; ')}`);
  }
  throw new Error(`Dawn compiles neither spelling: ${failures.join(' | ')}`);
}

async function errorOf(
  device: Device,
  { a, b, c, n, bytes }: { a: Uint16Array; b: Uint16Array; c: GpuBuffer; n: number; bytes: number },
): Promise<number> {
  const copy = device.createBuffer({ size: bytes * n * n, usage: MAP_READ | COPY_TARGET });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(c, 0, copy, 0, bytes * n * n);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(MAP_READ);
  const mapped = copy.getMappedRange();
  const result = bytes === 2 ? float16ToFloat32(new Uint16Array(mapped)) : new Float32Array(mapped);
  const [left, right] = [float16ToFloat32(a), float16ToFloat32(b)];
  // `largestError` takes b by rows of the product's columns.
  const transposed = (i: number) => right[(i % n) * n + Math.floor(i / n)]!;
  const error = largestError(result, { a: (i) => left[i]!, b: transposed, m: n, n, k: n });
  copy.destroy();
  return error;
}
