import { dirname } from 'node:path';
import { EngineError } from '../../../errors.js';
import { type LibraryPlace, locateLibrary, ONNXRUNTIME_VERSION } from './locate.js';

/** An address in native memory; 0n is null. */
export type Pointer = bigint;

/** What a native function takes: numbers, addresses, text, and typed arrays by the address of their bytes. */
type NativeArgument = number | bigint | string | null | NodeJS.ArrayBufferView | readonly unknown[];

interface NativeFunction {
  (...args: readonly NativeArgument[]): Pointer;
  async(...args: readonly (NativeArgument | ((error: Error | null, result: Pointer) => void))[]): void;
}

/**
 * The functions that are used: their position in ONNX Runtime's table of functions, which is part of its stable ABI
 * (https://onnxruntime.ai/docs/api/c), and their C signature without the table's `OrtStatus *` result.
 */
const FUNCTIONS = {
  createEnv: [3, 'int level, const char *id, _Out_ void **env'],
  createSessionFromArray: [8, 'void *env, void *model, size_t length, void *options, _Out_ void **session'],
  run: [
    9,
    'void *session, void *options, void *inputNames, void *inputs, size_t inputCount, void *outputNames, size_t outputCount, void *outputs',
  ],
  createSessionOptions: [10, '_Out_ void **options'],
  enableProfiling: [14, 'void *options, const char *prefix'],
  disableMemPattern: [17, 'void *options'],
  setSessionLogSeverityLevel: [22, 'void *options, int level'],
  setSessionGraphOptimizationLevel: [23, 'void *options, int level'],
  setIntraOpNumThreads: [24, 'void *options, int count'],
  setInterOpNumThreads: [25, 'void *options, int count'],
  addCustomOpDomain: [28, 'void *options, void *domain'],
  createTensorAsOrtValue: [48, 'void *allocator, void *shape, size_t rank, int type, _Out_ void **value'],
  createTensorWithDataAsOrtValue: [
    49,
    'void *info, void *data, size_t bytes, void *shape, size_t rank, int type, _Out_ void **value',
  ],
  createMemoryInfo: [68, 'const char *name, int allocator, int device, int memory, _Out_ void **info'],
  createCpuMemoryInfo: [69, 'int allocator, int memory, _Out_ void **info'],
  addSessionConfigEntry: [130, 'void *options, const char *key, const char *value'],
  createAllocator: [131, 'void *session, void *info, _Out_ void **allocator'],
  addInitializer: [150, 'void *options, const char *name, void *value'],
  createAndRegisterAllocator: [144, 'void *env, void *info, void *arena'],
  createArenaCfg: [156, 'size_t limit, int strategy, int initialBytes, int deadBytes, _Out_ void **arena'],
  createPrepackedWeightsContainer: [166, '_Out_ void **container'],
  createSessionFromArrayWithPrepackedWeights: [
    169,
    'void *env, void *model, size_t length, void *options, void *container, _Out_ void **session',
  ],
  appendCudaProvider: [204, 'void *options, void *cuda'],
  createCudaProviderOptions: [205, '_Out_ void **cuda'],
  appendExecutionProvider: [216, 'void *options, const char *name, void *keys, void *values, size_t count'],
  copyTensors: [386, 'void *env, void *sources, void *targets, void *stream, size_t count'],
  sessionAssignment: [407, 'void *session, _Out_ void **parts, _Out_ size_t *count'],
  partProvider: [408, 'void *part, _Out_ const char **name'],
  partNodes: [409, 'void *part, _Out_ void **nodes, _Out_ size_t *count'],
  nodeName: [410, 'void *node, _Out_ const char **name'],
  nodeOperator: [412, 'void *node, _Out_ const char **name'],
} as const satisfies Record<string, readonly [number, string]>;

/** Those that give nothing back. */
const RELEASES = {
  releaseStatus: 93,
  releaseMemoryInfo: 94,
  releaseSession: 95,
  releaseValue: 96,
  releaseSessionOptions: 100,
  releaseAllocator: 132,
  releaseArenaCfg: 157,
  releasePrepackedWeightsContainer: 167,
  releaseCudaProviderOptions: 208,
} as const;

/** C strings. `addresses` is what a function takes; both stay reachable as long as the function uses them. */
export interface NativeTexts {
  readonly addresses: BigUint64Array;
  readonly bytes: Buffer;
}

type Call = (...args: readonly NativeArgument[]) => void;

/** ONNX Runtime's C functions; each throws `EngineError` with the library's own message when it fails. */
export type OrtApi = { readonly [Name in keyof typeof FUNCTIONS]: Call } & {
  readonly [Name in keyof typeof RELEASES]: (pointer: Pointer) => void;
} & {
  /** The function run on another thread. Its arguments' memory must stay reachable until the promise settles. */
  later(
    name: 'run' | 'createSessionFromArray' | 'createSessionFromArrayWithPrepackedWeights' | 'copyTensors',
    ...args: readonly NativeArgument[]
  ): Promise<void>;
  /** The result of a function whose last parameter is an output. */
  make(name: keyof typeof FUNCTIONS, ...args: readonly NativeArgument[]): Pointer;
  /** Texts as an array of addresses of C strings. */
  texts(texts: readonly string[]): NativeTexts;
  /** The addresses in an array of addresses. */
  pointersAt(address: Pointer, count: number): Pointer[];
  /** The table of functions. */
  readonly table: Pointer;
  /** The version of the library. */
  readonly version: string;
  /** The folder that the library is in. */
  readonly folder: string;
  /** The folder of its package, where package.json is. */
  readonly root: string;
  /** Keeps the functions valid. */
  readonly library: unknown;
};

/** The version of the table; any library of this version or newer has these functions at these places. */
const API_VERSION = 24;

/** Native calls run on a stack of their own; ONNX Runtime's matrix kernels keep their packed blocks on it. */
const STACK_BYTES = 8 * 2 ** 20;

let loading: Promise<OrtApi> | undefined;

/** Loads ONNX Runtime's library, once a process. */
export function loadOnnxruntime(): Promise<OrtApi> {
  loading ??= load();
  return loading;
}

async function load(): Promise<OrtApi> {
  const place = locateLibrary();
  try {
    const { default: koffi } = await import('koffi');
    return bind(koffi, place);
  } catch (cause) {
    throw new EngineError('onnxruntime', `cannot load ${place.path}: ${(cause as Error).message}`, { cause });
  }
}

function bind(koffi: typeof import('koffi')['default'], { path, root }: LibraryPlace): OrtApi {
  try {
    koffi.config({ sync_stack_size: STACK_BYTES, async_stack_size: STACK_BYTES });
  } catch {
    // Somebody in this process has called native code through the same package already: the stacks are as they are.
  }
  // On the 128 KiB that calls on other threads get otherwise, the library ends the process.
  const mayRunElsewhere = (koffi.config().async_stack_size ?? 0) >= STACK_BYTES;
  const pointerAt = (table: Pointer, index: number) => koffi.decode(table, index * 8, 'void *') as Pointer;
  const functionAt = (table: Pointer, index: number, signature: string) =>
    koffi.decode(pointerAt(table, index), koffi.proto(signature)) as NativeFunction;

  const library = koffi.load(path);
  const base = library.func('void *OrtGetApiBase()')() as Pointer;
  const version = functionAt(base, 1, 'const char *OrtVersion()')() as unknown as string;
  const table = functionAt(base, 0, 'void *OrtTable(uint32_t version)')(API_VERSION);
  if (!table) throw new Error(`ONNX Runtime ${version} is too old; install onnxruntime-node ${ONNXRUNTIME_VERSION}`);

  const message = functionAt(table, 2, 'const char *OrtMessage(void *status)');
  const release = functionAt(table, RELEASES.releaseStatus, 'void OrtReleaseStatus(void *status)');
  const check = (status: Pointer | null) => {
    if (!status) return;
    const text = message(status) as unknown as string;
    release(status);
    throw new EngineError('onnxruntime', text);
  };

  const native = Object.fromEntries(
    Object.entries(FUNCTIONS).map(([name, [index, parameters]]) => [
      name,
      functionAt(table, index, `void *Ort_${name}(${parameters})`),
    ]),
  );
  const calls = Object.fromEntries(
    Object.entries(native).map(([name, f]) => [name, (...args: NativeArgument[]) => check(f(...args))]),
  );
  const releases = Object.fromEntries(
    Object.entries(RELEASES).map(([name, index]) => [name, functionAt(table, index, `void Ort_${name}(void *it)`)]),
  );
  const addressOf = (array: NodeJS.ArrayBufferView) => koffi.address(array) as Pointer;
  return {
    ...calls,
    ...releases,
    // A library that nothing refers to is unloaded, and functions found by address do not count.
    library,
    table: table as Pointer,
    version,
    folder: dirname(path),
    root,
    texts(texts: readonly string[]): NativeTexts {
      const bytes = Buffer.from(texts.map((text) => `${text}\0`).join(''), 'utf8');
      const start = texts.length > 0 ? addressOf(bytes) : 0n;
      let at = 0;
      const addresses = BigUint64Array.from(texts, (text) => {
        const address = start + BigInt(at);
        at += Buffer.byteLength(text) + 1;
        return address;
      });
      return { addresses, bytes };
    },
    make(name: string, ...args: readonly NativeArgument[]) {
      const out = [null];
      calls[name]!(...args, out);
      return out[0] as unknown as Pointer;
    },
    pointersAt: (address: Pointer, count: number) => Array.from({ length: count }, (_, i) => pointerAt(address, i)),
    later: (name: string, ...args: readonly NativeArgument[]) =>
      new Promise<void>((resolve, reject) => {
        if (!mayRunElsewhere) {
          calls[name]!(...args);
          resolve();
          return;
        }
        native[name]!.async(...args, (error, status) => {
          try {
            if (error) throw error;
            resolve(check(status));
          } catch (thrown) {
            reject(thrown);
          }
        });
      }),
  } as OrtApi;
}
