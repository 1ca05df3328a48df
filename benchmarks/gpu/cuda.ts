import { bindAll, type Koffi, koffi, type Native, output, type Pointer } from './native.js';

const SIGNATURES = {
  cuInit: 'int cuInit(uint32_t flags)',
  cuDriverGetVersion: 'int cuDriverGetVersion(_Out_ int *version)',
  cuDeviceGet: 'int cuDeviceGet(_Out_ int *device, int ordinal)',
  cuDeviceGetName: 'int cuDeviceGetName(void *name, int length, int device)',
  cuDeviceGetAttribute: 'int cuDeviceGetAttribute(_Out_ int *value, int attribute, int device)',
  cuDevicePrimaryCtxRetain: 'int cuDevicePrimaryCtxRetain(_Out_ void **context, int device)',
  cuCtxSetCurrent: 'int cuCtxSetCurrent(void *context)',
  cuCtxSynchronize: 'int cuCtxSynchronize()',
  cuMemAlloc_v2: 'int cuMemAlloc_v2(_Out_ uint64_t *address, size_t bytes)',
  cuMemFree_v2: 'int cuMemFree_v2(uint64_t address)',
  cuMemcpyHtoD_v2: 'int cuMemcpyHtoD_v2(uint64_t target, void *source, size_t bytes)',
  cuMemcpyDtoH_v2: 'int cuMemcpyDtoH_v2(void *target, uint64_t source, size_t bytes)',
  cuMemcpyDtoDAsync_v2: 'int cuMemcpyDtoDAsync_v2(uint64_t target, uint64_t source, size_t bytes, void *stream)',
  cuModuleLoadDataEx:
    'int cuModuleLoadDataEx(_Out_ void **module, void *image, uint32_t count, void *options, void *values)',
  cuModuleGetFunction: 'int cuModuleGetFunction(_Out_ void **f, void *module, const char *name)',
  cuLaunchKernel:
    'int cuLaunchKernel(void *f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t bx, uint32_t by, uint32_t bz, uint32_t shared, void *stream, void *parameters, void *extra)',
  cuEventCreate: 'int cuEventCreate(_Out_ void **event, uint32_t flags)',
  cuEventRecord: 'int cuEventRecord(void *event, void *stream)',
  cuEventSynchronize: 'int cuEventSynchronize(void *event)',
  cuEventElapsedTime: 'int cuEventElapsedTime(_Out_ float *milliseconds, void *start, void *end)',
  cuGetErrorString: 'int cuGetErrorString(int error, _Out_ const char **text)',
} as const;

/** Of `CUjit_option`. */
const ERROR_LOG_BUFFER = 5;
const ERROR_LOG_BUFFER_BYTES = 6;
const MULTIPROCESSORS = 16;
const COMPUTE_MAJOR = 75;
const COMPUTE_MINOR = 76;

/** The CUDA driver through `libcuda`, which every NVIDIA driver brings; no toolkit. Its first device, its primary context. */
export class Cuda {
  readonly name: string;
  /** 90 for 9.0. */
  readonly compute: number;
  readonly multiprocessors: number;
  readonly driver: number;

  private constructor(
    private readonly koffi: Koffi,
    private readonly api: Record<keyof typeof SIGNATURES, Native>,
  ) {
    this.check(api.cuInit(0), 'cuInit');
    this.driver = Number(this.make('cuDriverGetVersion'));
    const device = Number(this.make('cuDeviceGet', 0));
    const name = Buffer.alloc(256);
    // `_Out_` parameters come last in the others; here it comes first.
    this.check(api.cuDeviceGetName(name, name.length, device), 'cuDeviceGetName');
    this.name = name.toString('utf8').replace(/\0.*$/s, '');
    const attribute = (which: number) => {
      const out: unknown[] = [null];
      this.check(api.cuDeviceGetAttribute(out, which, device), 'cuDeviceGetAttribute');
      return Number(out[0]);
    };
    this.compute = 10 * attribute(COMPUTE_MAJOR) + attribute(COMPUTE_MINOR);
    this.multiprocessors = attribute(MULTIPROCESSORS);
    this.check(api.cuCtxSetCurrent(this.make('cuDevicePrimaryCtxRetain', device)), 'cuCtxSetCurrent');
  }

  /** @throws Error when there is no driver or no device, with the driver's own words */
  static open(): Cuda {
    return new Cuda(koffi(), bindAll('libcuda.so.1', SIGNATURES));
  }

  /** A function whose first parameter is its output. */
  private make(name: keyof typeof SIGNATURES, ...args: readonly unknown[]): Pointer {
    return output((...all) => this.check(this.api[name](all.at(-1), ...all.slice(0, -1)), name), ...args);
  }

  private check(status: unknown, what: string): void {
    if (status === 0) return;
    const out: unknown[] = [null];
    this.api.cuGetErrorString(status, out);
    throw new Error(`${what}: CUDA error ${status}, ${out[0] ?? 'unknown'}`);
  }

  upload(data: NodeJS.ArrayBufferView): Pointer {
    const address = this.allocate(data.byteLength);
    this.check(this.api.cuMemcpyHtoD_v2(address, data, data.byteLength), 'cuMemcpyHtoD');
    return address;
  }

  allocate(bytes: number): Pointer {
    return this.make('cuMemAlloc_v2', bytes);
  }

  free(address: Pointer): void {
    this.check(this.api.cuMemFree_v2(address), 'cuMemFree');
  }

  download(address: Pointer, into: NodeJS.ArrayBufferView): void {
    this.check(this.api.cuMemcpyDtoH_v2(into, address, into.byteLength), 'cuMemcpyDtoH');
  }

  copy(target: Pointer, source: Pointer, bytes: number): void {
    this.check(this.api.cuMemcpyDtoDAsync_v2(target, source, bytes, null), 'cuMemcpyDtoD');
  }

  /** Compiles PTX. @throws Error with the compiler's log */
  kernel(ptx: string, name: string): Pointer {
    const log = Buffer.alloc(8192);
    const options = Int32Array.of(ERROR_LOG_BUFFER, ERROR_LOG_BUFFER_BYTES);
    const values = BigUint64Array.of(this.koffi.address(log), BigInt(log.length));
    const image = Buffer.from(`${ptx}\0`, 'utf8');
    let loaded: Pointer;
    try {
      loaded = this.make('cuModuleLoadDataEx', image, options.length, options, values);
    } catch (cause) {
      throw new Error(`${(cause as Error).message}\n${log.toString('utf8').replace(/\0.*$/s, '')}`);
    }
    return this.make('cuModuleGetFunction', loaded, name);
  }

  /** Starts a kernel. Integers are passed as 32 bits, bigints as 64. */
  launch(
    kernel: Pointer,
    { grid, block }: { grid: readonly [number, number]; block: number },
    args: readonly (number | bigint)[],
  ): void {
    const held = args.map((value) => (typeof value === 'bigint' ? BigUint64Array.of(value) : Uint32Array.of(value)));
    const addresses = BigUint64Array.from(held, (array) => this.koffi.address(array));
    const sizes = [...grid, 1, block, 1, 1] as const;
    this.check(this.api.cuLaunchKernel(kernel, ...sizes, 0, null, addresses, null), 'cuLaunchKernel');
  }

  /** Smallest time of `work` on the device in seconds, of several, after one to warm up. */
  time(repetitions: number, work: () => void): number {
    const [start, end] = [this.make('cuEventCreate', 0), this.make('cuEventCreate', 0)];
    let best = Number.POSITIVE_INFINITY;
    for (let i = -1; i < repetitions; i++) {
      this.check(this.api.cuEventRecord(start, null), 'cuEventRecord');
      work();
      this.check(this.api.cuEventRecord(end, null), 'cuEventRecord');
      this.check(this.api.cuEventSynchronize(end), 'cuEventSynchronize');
      const out: unknown[] = [null];
      this.check(this.api.cuEventElapsedTime(out, start, end), 'cuEventElapsedTime');
      if (i >= 0) best = Math.min(best, Number(out[0]) / 1000);
    }
    return best;
  }

  synchronize(): void {
    this.check(this.api.cuCtxSynchronize(), 'cuCtxSynchronize');
  }
}
