import { copyFileSync, existsSync, linkSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { libraryName } from './build-kernels.mjs';
import { crossCompile } from './cross-kernels.js';
import { platformOf } from './native-files.js';
import { publicationFields, readPublication } from './publication.mjs';
import { type Manifest, readJson, root } from './workspace.js';

/** A platform that ONNX Runtime is built for. */
export interface Platform {
  readonly os: 'darwin' | 'linux' | 'win32';
  readonly cpu: 'arm64' | 'x64';
  readonly libc?: string;
  /** Files of `bin/napi-v6/OS/CPU` of onnxruntime-node: first the library, then what it loads by name. */
  readonly libraries: readonly [string, ...string[]];
}

const LINUX = { os: 'linux', libc: 'glibc', libraries: ['libonnxruntime.so.1'] } as const;
// DirectML.dll (18 MB, with a licence of its own) is loaded when its provider is first asked for, and is not: WebGPU is.
const WINDOWS = { os: 'win32', libraries: ['onnxruntime.dll', 'dxcompiler.dll', 'dxil.dll'] } as const;

/** All platforms with packages `@posttrain/onnxruntime-OS-CPU` and `@posttrain/kernels-OS-CPU` in `platforms/`. */
export const PLATFORMS: readonly Platform[] = [
  { os: 'darwin', cpu: 'arm64', libraries: ['libonnxruntime.1.dylib'] },
  { ...LINUX, cpu: 'arm64' },
  { ...LINUX, cpu: 'x64' },
  { ...WINDOWS, cpu: 'arm64' },
  { ...WINDOWS, cpu: 'x64' },
];

const NOTICES = ['LICENSE', 'ThirdPartyNotices.txt'];
const platformsFolder = join(root, 'platforms');
const coreTensor = join(root, 'packages', 'core-tensor', 'package.json');
const require = createRequire(coreTensor);

export const packageName = ({ os, cpu }: Platform): string => `@posttrain/onnxruntime-${os}-${cpu}`;
export const kernelsName = ({ os, cpu }: Platform): string => `@posttrain/kernels-${os}-${cpu}`;
const folderOf = (name: string): string => join(platformsFolder, basename(name));

/** The fields of package.json by which package managers choose. */
export function platformFields({ os, cpu, libc }: Platform): object {
  return { os: [os], cpu: [cpu], ...(libc ? { libc: [libc] } : {}) };
}

/** What both packages of a platform have in common. `os`, `cpu` and `libc` hold for the published package only. */
function manifestOf(
  platform: Platform,
  library: string,
  own: { readonly name: string },
  files: readonly string[],
): object {
  return {
    ...own,
    ...publicationFields(readPublication(root), `platforms/${basename(own.name)}`),
    exports: { './library': `./${library}`, './package.json': './package.json' },
    preferUnplugged: true,
    publishConfig: { access: 'public', provenance: true, ...platformFields(platform) },
    files,
    scripts: {
      prepack: 'node ../../scripts/prepack.mjs && tsx ../../scripts/fill-platform.ts',
      postpack: 'tsx ../../scripts/fill-platform.ts --empty',
      prepublishOnly: 'node ../../scripts/prepublish.mjs',
    },
  };
}

function onnxruntimeManifest(platform: Platform, version: string): object {
  const { os, cpu, libraries } = platform;
  const own = {
    name: packageName(platform),
    version,
    description: `The shared library of ONNX Runtime ${version} for ${os} on ${cpu}.`,
    license: 'MIT',
  };
  return manifestOf(platform, libraries[0], own, [...libraries, ...NOTICES]);
}

function kernelsManifest(platform: Platform, version: string): object {
  const { os, cpu } = platform;
  const own = {
    name: kernelsName(platform),
    version,
    description: `The CPU kernels of @posttrain/core-tensor for ${os} on ${cpu}.`,
    license: 'Apache-2.0',
  };
  const library = libraryName(os, cpu);
  return manifestOf(platform, library, own, [library]);
}

interface PlatformsState {
  /** package.json by path. */
  readonly manifests: ReadonlyMap<string, string>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

/** What the table above makes of `platforms/` and of the dependencies of core-tensor. */
export function wantedPlatforms(): PlatformsState {
  const { version } = readJson<Manifest>(require.resolve('onnxruntime-node/package.json'));
  // The kernels have the version of all our packages.
  const { version: own } = readJson<Manifest>(coreTensor);
  const manifests = PLATFORMS.flatMap((platform) => [
    [packageName(platform), onnxruntimeManifest(platform, version)] as const,
    [kernelsName(platform), kernelsManifest(platform, own)] as const,
  ]);
  const names = [...PLATFORMS.map(kernelsName), ...PLATFORMS.map(packageName)];
  return {
    manifests: new Map(
      manifests.map(([name, manifest]) => [
        join(folderOf(name), 'package.json'),
        `${JSON.stringify(manifest, null, 2)}\n`,
      ]),
    ),
    optionalDependencies: Object.fromEntries(names.map((name) => [name, 'workspace:*'])),
  };
}

/** Where the repository, or the installed onnxruntime-node, is not as the table says. */
export function checkPlatforms(): string[] {
  const { manifests, optionalDependencies } = wantedPlatforms();
  const problems = [...manifests]
    .filter(([file, text]) => !existsSync(file) || readFileSync(file, 'utf8') !== text)
    .map(([file]) => `${relative(root, file)}: run \`npx tsx scripts/write-platforms.ts\``);
  const present = readJson<Manifest>(coreTensor).optionalDependencies;
  if (JSON.stringify(present) !== JSON.stringify(optionalDependencies)) {
    problems.push(`@posttrain/core-tensor: optionalDependencies must be ${JSON.stringify(optionalDependencies)}`);
  }
  const foreign = PLATFORMS.flatMap((platform) =>
    librariesOf(platform).filter((file) => platformOf(file) !== `${platform.os}-${platform.cpu}`),
  );
  return [...problems, ...foreign.map((file) => `${relative(root, file)} is for ${platformOf(file)}`)];
}

/** In the installed onnxruntime-node. */
function librariesOf({ os, cpu, libraries }: Platform): string[] {
  const folder = join(dirname(require.resolve('onnxruntime-node/package.json')), 'bin', 'napi-v6', os, cpu);
  return libraries.map((file) => join(folder, file));
}

/**
 * Puts the library into the folder of a platform's package: ONNX Runtime's, with its licence, out of the installed onnxruntime-node,
 * or the kernels, which are compiled for it.
 */
export function fillPlatform(folder: string): void {
  emptyPlatform(folder);
  const is = (name: string) => basename(name) === basename(folder);
  const kernels = PLATFORMS.find((candidate) => is(kernelsName(candidate)));
  if (kernels) {
    crossCompile(`${kernels.os}-${kernels.cpu}`, join(folder, libraryName(kernels.os, kernels.cpu)));
    return;
  }
  const platform = PLATFORMS.find((candidate) => is(packageName(candidate)));
  if (!platform) throw new Error(`${folder} is not the folder of a platform's package`);
  for (const file of librariesOf(platform)) link(file, join(folder, basename(file)));
  for (const file of NOTICES) copyFileSync(join(platformsFolder, file), join(folder, file));
}

/** Takes it out again: here onnxruntime-node itself is used, and the kernels that this machine has built. */
export function emptyPlatform(folder: string): void {
  for (const file of readdirSync(folder)) {
    if (file !== 'package.json' && file !== 'README.md') rmSync(join(folder, file), { recursive: true });
  }
}

/** All at once, so that no program ever loads half a library; and it costs no space. */
function link(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}
