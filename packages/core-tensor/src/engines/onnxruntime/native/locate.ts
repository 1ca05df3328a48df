import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EngineError } from '../../../errors.js';

/** The version of ONNX Runtime that this package is tested with, and of the packages that carry it. */
export const ONNXRUNTIME_VERSION = '1.30.0';

/** Those that have a package `@posttrain/onnxruntime-PLATFORM`: optional dependencies, of which npm installs one. */
export const ONNXRUNTIME_PLATFORMS = ['darwin-arm64', 'linux-arm64', 'linux-x64', 'win32-arm64', 'win32-x64'] as const;

/** Beside the library where the CUDA provider is installed. */
export const CUDA_PROVIDER = 'libonnxruntime_providers_cuda.so';

export interface LibraryPlace {
  /** Of the shared library. */
  readonly path: string;
  /** The folder of its package, where package.json is. */
  readonly root: string;
}

/** What decides which library is taken. */
export interface LibraryHost {
  readonly platform: string;
  readonly arch: string;
  /** Whether the C library is musl (Alpine Linux). */
  readonly isMusl: () => boolean;
  /** The file of a module; throws where it is not installed. */
  readonly resolve: (specifier: string) => string;
  /** The content of a package.json. */
  readonly read: (file: string) => unknown;
}

const require = createRequire(import.meta.url);

const thisHost: LibraryHost = {
  platform: process.platform,
  arch: process.arch,
  isMusl: () => {
    const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
    return process.platform === 'linux' && header?.glibcVersionRuntime === undefined;
  },
  resolve: require.resolve,
  read: require,
};

/**
 * The path of ONNX Runtime's shared library: of the package of this platform; else of the package `onnxruntime-node`, if
 * the app has it. One of these that has the CUDA provider, which no package of ours carries, goes first, unless it is older.
 *
 * @throws EngineError that says what to install
 */
export function locateLibrary(host: LibraryHost = thisHost): LibraryPlace {
  const own = resolved(host, `@posttrain/onnxruntime-${host.platform}-${host.arch}/library`);
  const other = ofOnnxruntimeNode(host);
  if (other && (own === undefined || (other.hasCuda && !isOlder(other.version, ONNXRUNTIME_VERSION)))) return other;
  if (own !== undefined) return { path: own, root: dirname(own) };
  throw new EngineError('onnxruntime', whatIsMissing(host));
}

function resolved({ resolve }: LibraryHost, specifier: string): string | undefined {
  try {
    return resolve(specifier);
  } catch {
    return undefined;
  }
}

const FILES_OF_ONNXRUNTIME_NODE: Readonly<Record<string, string>> = {
  linux: 'libonnxruntime.so.1',
  darwin: 'libonnxruntime.1.dylib',
  win32: 'onnxruntime.dll',
};

function ofOnnxruntimeNode(host: LibraryHost): (LibraryPlace & { version: string; hasCuda: boolean }) | undefined {
  const manifest = resolved(host, 'onnxruntime-node/package.json');
  const file = FILES_OF_ONNXRUNTIME_NODE[host.platform];
  if (manifest === undefined || file === undefined) return undefined;
  const folder = join(dirname(manifest), 'bin', 'napi-v6', host.platform, host.arch);
  if (!existsSync(join(folder, file))) return undefined;
  const { version } = host.read(manifest) as { version: string };
  return {
    path: join(folder, file),
    root: dirname(manifest),
    version,
    hasCuda: existsSync(join(folder, CUDA_PROVIDER)),
  };
}

function isOlder(version: string, than: string): boolean {
  const [a, b] = [version, than].map((text) => text.split(/[.+-]/).slice(0, 3).map(Number));
  const difference = a!.map((part, i) => part - b![i]!).find((d) => d !== 0);
  return difference !== undefined && difference < 0;
}

function whatIsMissing({ platform, arch, isMusl }: LibraryHost): string {
  const name = `${platform}-${arch}`;
  if (!ONNXRUNTIME_PLATFORMS.some((known) => known === name)) {
    return (
      `ONNX Runtime ${ONNXRUNTIME_VERSION} has no library for ${name}, only for ${ONNXRUNTIME_PLATFORMS.join(', ')}; ` +
      'use another engine here (@posttrain/core-tensor/tfjs)'
    );
  }
  if (isMusl()) {
    return (
      `ONNX Runtime ${ONNXRUNTIME_VERSION} has no library for Linux with musl (Alpine); use an image with glibc ` +
      '(Debian), or another engine (@posttrain/core-tensor/tfjs)'
    );
  }
  const wanted = `@posttrain/onnxruntime-${name}`;
  return (
    `the package ${wanted} is not installed. It is an optional dependency of @posttrain/core-tensor, which ` +
    `\`--omit=optional\` and lockfiles or node_modules folders from another platform leave out. Install it: ` +
    `\`npm install ${wanted}@${ONNXRUNTIME_VERSION}\`; or, for all platforms, ` +
    `\`ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@${ONNXRUNTIME_VERSION}\``
  );
}
