import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { EngineError } from '../../../errors.js';
import { loadOnnxruntime, type OrtApi, type Pointer } from './library.js';
import { ONNXRUNTIME_VERSION } from './locate.js';

/** The ways to multiply that the kernels know; each needs a processor that has it, but `plain`. */
export const ARITHMETICS = ['plain', 'avx2', 'avx512', 'avx512bf16', 'amx', 'neon'] as const;
export type Arithmetic = (typeof ARITHMETICS)[number];

/** Models of processors on which an arithmetic was measured to be faster than ONNX Runtime (benchmarks/RESULTS.md). */
const FASTER_ON: Readonly<
  Record<'products' | 'codes' | 'bytes' | 'attention', Partial<Readonly<Record<Arithmetic, RegExp>>>>
> = {
  products: { avx512: /intel/i, avx2: /amd/i },
  codes: { avx512: /intel/i, avx2: /amd/i },
  // VNNI: products of bytes themselves; ONNX Runtime's are faster without.
  bytes: { avx512: /intel/i },
  attention: { avx2: /amd/i },
};

/** The version of the functions and of the operator's attributes that this file knows. */
const KERNELS_VERSION = 3;

/** The kernels of packages/core-tensor/native, loaded. */
export interface NativeKernels {
  /** ONNX Runtime's domain of their operators, for the options of a session. */
  readonly domain: Pointer;
  /** What multiplies float32, and what multiplies where bfloat16 factors are allowed. */
  readonly fastest: { readonly float32: Arithmetic; readonly bfloat16: Arithmetic };
  /**
   * Whether the float32 products of `fastest`, those with codes, those of int8 with rounded inputs, and attention in blocks were measured to be faster than ONNX Runtime's
   * operators on processors of this kind.
   */
  readonly isFaster: { readonly [What in keyof typeof FASTER_ON]: boolean };
  /** What this processor has. */
  readonly has: ReadonlySet<Arithmetic>;
  /** Keeps the functions valid. */
  readonly library: unknown;
}

/** What became of loading them: the kernels, or a sentence about why there are none. */
export type FoundKernels = NativeKernels | { readonly missing: string };

let loading: Promise<FoundKernels> | undefined;

/**
 * Loads the kernels once a process: from `@posttrain/kernels-PLATFORM`, where that is installed, or as the set-up of the
 * repository has built them. POSTTRAIN_KERNELS=off says that there are none; `all`, that they are to compute products of any size
 * (`npm run test:slow` runs all tests so).
 */
export function loadKernels(): Promise<FoundKernels> {
  loading ??= load();
  return loading;
}

async function load(): Promise<FoundKernels> {
  if (process.env.POSTTRAIN_KERNELS === 'off') return { missing: 'POSTTRAIN_KERNELS=off' };
  const path = locateKernels();
  if (path === undefined)
    return { missing: `no kernels are installed or built for ${process.platform}-${process.arch}` };
  const api = await loadOnnxruntime();
  // The operator's structure is declared as this version reads it.
  if (api.version !== ONNXRUNTIME_VERSION)
    return { missing: `the kernels are for ONNX Runtime ${ONNXRUNTIME_VERSION}, and this is ${api.version}` };
  try {
    const { default: koffi } = await import('koffi');
    return bind(koffi.load(path), api);
  } catch (cause) {
    throw new EngineError('onnxruntime', `cannot load the kernels ${path}: ${(cause as Error).message}`, { cause });
  }
}

function locateKernels(): string | undefined {
  const { resolve } = createRequire(import.meta.url);
  const platform = `${process.platform}-${process.arch}`;
  const resolved = (specifier: string): string | undefined => {
    try {
      return resolve(specifier);
    } catch {
      return undefined;
    }
  };
  const published = resolved(`@posttrain/kernels-${platform}/library`);
  if (published !== undefined) return published;
  const manifest = resolved('@posttrain/core-tensor/package.json');
  if (manifest === undefined) return undefined;
  const extension = { darwin: 'dylib', win32: 'dll' }[process.platform as string] ?? 'so';
  const built = join(dirname(manifest), 'native', 'build', `kernels-${platform}.${extension}`);
  return existsSync(built) ? built : undefined;
}

function bind(library: import('koffi').LibraryHandle, api: OrtApi): FoundKernels {
  const version = library.func('int posttrain_kernels_version()')() as number;
  if (version !== KERNELS_VERSION) return { missing: `the kernels are of version ${version}, not ${KERNELS_VERSION}` };
  const position = library.func('int posttrain_arithmetic(const char *name)');
  const fastest = library.func('const char *posttrain_fastest_arithmetic(int bfloat16)');
  const domain = library.func('void *posttrain_domain(void *table)')(api.table) as Pointer | null;
  if (!domain) return { missing: 'ONNX Runtime refused their operators' };
  const float32 = fastest(0) as Arithmetic;
  const isFaster = (what: keyof typeof FASTER_ON) => FASTER_ON[what][float32]?.test(cpus()[0]?.model ?? '') ?? false;
  return {
    domain,
    fastest: { float32, bfloat16: fastest(1) as Arithmetic },
    isFaster: {
      products: isFaster('products'),
      codes: isFaster('codes'),
      bytes: isFaster('bytes'),
      attention: isFaster('attention'),
    },
    has: new Set(ARITHMETICS.filter((name, i) => position(name) === i)),
    library,
  };
}
