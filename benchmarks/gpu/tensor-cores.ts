import { Cuda } from './cuda.js';
import { findLibrary } from './find-library.js';
import { bindAll, fromBfloat16, largestError, output, toBfloat16 } from './native.js';
import type { Figures } from './own-engine.js';
import { PTX_TILE, ptxMatmul } from './ptx-matmul.js';

/** Within this of the sum of absolute products; the sums are float32. */
const TOLERANCE = 1e-5;
const SIZES = [1024, 2048, 4096, 8192];

interface Factors {
  readonly a: bigint;
  readonly b: bigint;
  readonly c: bigint;
  /** Throws when c is not the product; gives the largest error. */
  check(): number;
  free(): void;
}

/** a [n, n] and b [n, n] in bfloat16 and room for c = a bᵀ in float32, on the card. */
function factorsOf(cuda: Cuda, n: number): Factors {
  const numbers = () => toBfloat16(Float32Array.from({ length: n * n }, () => Math.random() - 0.5));
  const [hostA, hostB] = [numbers(), numbers()];
  const [a, b, c] = [cuda.upload(hostA), cuda.upload(hostB), cuda.allocate(4 * n * n)];
  return {
    ...{ a, b, c },
    check() {
      const result = new Float32Array(n * n);
      cuda.download(c, result);
      const entry = (bits: Uint16Array) => (i: number) => fromBfloat16(bits[i]!);
      const error = largestError(result, { a: entry(hostA), b: entry(hostB), m: n, n, k: n });
      if (!(error < TOLERANCE)) throw new Error(`the product of ${n} × ${n} is wrong: largest error ${error}`);
      return error;
    },
    free() {
      for (const address of [a, b, c]) cuda.free(address);
    },
  };
}

const describe = (cuda: Cuda): Figures => ({
  ...{ device: cuda.name, compute: cuda.compute, multiprocessors: cuda.multiprocessors, driver: cuda.driver },
});

/** Correctness and rate of `multiply` (c = a bᵀ) on squares. */
function rates(cuda: Cuda, multiply: (factors: Factors, n: number) => void): Figures {
  const figures: Figures = describe(cuda);
  for (const n of SIZES) {
    const factors = factorsOf(cuda, n);
    multiply(factors, n);
    cuda.synchronize();
    figures[`${n} largest error`] = factors.check();
    const calls = 10;
    const time = cuda.time(5, () => {
      for (let i = 0; i < calls; i++) multiply(factors, n);
    });
    figures[`${n} GFLOP/s`] = (calls * 2 * n ** 3) / time / 1e9;
    factors.free();
  }
  return figures;
}

/** The driver's own copy: GB/s, read and written bytes added. */
export function driverCopy(): Figures {
  const cuda = Cuda.open();
  const bytes = 2 ** 30;
  const [from, to] = [cuda.allocate(bytes), cuda.allocate(bytes)];
  const time = cuda.time(5, () => cuda.copy(to, from, bytes));
  return { ...describe(cuda), 'GB/s': (2 * bytes) / time / 1e9 };
}

/** `mma.sync` on bfloat16 from PTX text that the driver compiles. */
export function ptxProduct(): Figures {
  const cuda = Cuda.open();
  const kernel = cuda.kernel(ptxMatmul(), 'matmul');
  return rates(cuda, ({ a, b, c }, n) => {
    const grid = [n / PTX_TILE.n, n / PTX_TILE.m] as const;
    cuda.launch(kernel, { grid, block: PTX_TILE.threads }, [a, b, c, n, n]);
  });
}

const CUBLASLT = {
  cublasLtGetVersion: 'size_t cublasLtGetVersion()',
  cublasLtCreate: 'int cublasLtCreate(_Out_ void **handle)',
  cublasLtMatmulDescCreate: 'int cublasLtMatmulDescCreate(_Out_ void **description, int compute, int scale)',
  cublasLtMatmulDescSetAttribute:
    'int cublasLtMatmulDescSetAttribute(void *description, int attribute, void *value, size_t bytes)',
  cublasLtMatrixLayoutCreate:
    'int cublasLtMatrixLayoutCreate(_Out_ void **layout, int type, uint64_t rows, uint64_t columns, int64_t stride)',
  cublasLtMatmulPreferenceCreate: 'int cublasLtMatmulPreferenceCreate(_Out_ void **preference)',
  cublasLtMatmulPreferenceSetAttribute:
    'int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, void *value, size_t bytes)',
  cublasLtMatmulAlgoGetHeuristic:
    'int cublasLtMatmulAlgoGetHeuristic(void *handle, void *description, void *a, void *b, void *c, void *d, void *preference, int wanted, void *results, _Out_ int *found)',
  cublasLtMatmul:
    'int cublasLtMatmul(void *handle, void *description, void *alpha, uint64_t a, void *layoutA, uint64_t b, void *layoutB, void *beta, uint64_t c, void *layoutC, uint64_t d, void *layoutD, void *algorithm, uint64_t workspace, size_t workspaceBytes, void *stream)',
} as const;

const COMPUTE_32F = 68;
const REAL_32F = 0;
const REAL_16BF = 14;
const TRANSPOSE_A = 3;
const MAX_WORKSPACE_BYTES = 1;
const TRANSPOSED = 1;
/** More than `cublasLtMatmulHeuristicResult_t` takes (the algorithm is its first field). */
const RESULT_BYTES = 4096;
const WORKSPACE_BYTES = 2 ** 25;

/** cuBLASLt where a toolkit or a Python package has brought it. */
export function cublasLtProduct(): Figures {
  const path = findLibrary('libcublasLt.so');
  const cuda = Cuda.open();
  const api = bindAll(path, CUBLASLT);
  const check = (status: unknown, what: string) => {
    if (status !== 0) throw new Error(`${what}: cuBLAS status ${status}`);
  };
  const make = (name: keyof typeof CUBLASLT, ...args: readonly unknown[]) =>
    output((...all) => check(api[name](all.at(-1), ...all.slice(0, -1)), name), ...args);
  const handle = make('cublasLtCreate');
  const description = make('cublasLtMatmulDescCreate', COMPUTE_32F, REAL_32F);
  const set = api.cublasLtMatmulDescSetAttribute;
  check(set(description, TRANSPOSE_A, Int32Array.of(TRANSPOSED), 4), 'cublasLtMatmulDescSetAttribute');
  const preference = make('cublasLtMatmulPreferenceCreate');
  const limit = BigUint64Array.of(BigInt(WORKSPACE_BYTES));
  const prefer = api.cublasLtMatmulPreferenceSetAttribute;
  check(prefer(preference, MAX_WORKSPACE_BYTES, limit, 8), 'cublasLtMatmulPreferenceSetAttribute');
  const workspace = cuda.allocate(WORKSPACE_BYTES);
  const [one, zero] = [Float32Array.of(1), Float32Array.of(0)];
  const plans = new Map<number, { layouts: [unknown, unknown]; algorithm: Uint8Array }>();
  const planOf = (n: number) => {
    const layouts: [unknown, unknown] = [
      make('cublasLtMatrixLayoutCreate', REAL_16BF, n, n, n),
      make('cublasLtMatrixLayoutCreate', REAL_32F, n, n, n),
    ];
    const algorithm = new Uint8Array(RESULT_BYTES);
    const found: unknown[] = [null];
    const [bits, floats] = layouts;
    const ask = api.cublasLtMatmulAlgoGetHeuristic;
    check(
      ask(handle, description, bits, bits, floats, floats, preference, 1, algorithm, found),
      'cublasLtMatmulAlgoGetHeuristic',
    );
    if (found[0] === 0) throw new Error(`cuBLASLt knows no algorithm for ${n} × ${n}`);
    const plan = { layouts, algorithm };
    plans.set(n, plan);
    return plan;
  };
  const figures = rates(cuda, ({ a, b, c }, n) => {
    const { layouts, algorithm } = plans.get(n) ?? planOf(n);
    const [bits, floats] = layouts;
    // Columns first, as BLAS has them: cᵀ = (b as stored, which is its transpose, transposed) · aᵀ.
    const status = api.cublasLtMatmul(
      ...[handle, description, one, b, bits, a, bits, zero, c, floats, c, floats, algorithm],
      ...[workspace, WORKSPACE_BYTES, null],
    );
    check(status, 'cublasLtMatmul');
  });
  return { library: path, version: Number(api.cublasLtGetVersion()), ...figures };
}
