import { copyFileSync, existsSync, linkSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { platformOf } from './native-files.js';
import { type Manifest, readJson, root } from './workspace.js';

/** A platform that ONNX Runtime is built for. */
export interface Platform {
  readonly os: string;
  readonly cpu: string;
  readonly libc?: string;
  /** Files of `bin/napi-v6/OS/CPU` of onnxruntime-node: first the library, then what it loads by name. */
  readonly libraries: readonly [string, ...string[]];
}

const LINUX = { os: 'linux', libc: 'glibc', libraries: ['libonnxruntime.so.1'] } as const;
// DirectML.dll (18 MB, with a licence of its own) is loaded when its provider is first asked for, and is not: WebGPU is.
const WINDOWS = { os: 'win32', libraries: ['onnxruntime.dll', 'dxcompiler.dll', 'dxil.dll'] } as const;

/** All platforms with a package `@posttrain/onnxruntime-OS-CPU` in `platforms/`. */
export const PLATFORMS: readonly Platform[] = [
  { os: 'darwin', cpu: 'arm64', libraries: ['libonnxruntime.1.dylib'] },
  { ...LINUX, cpu: 'arm64' },
  { ...LINUX, cpu: 'x64' },
  { ...WINDOWS, cpu: 'arm64' },
  { ...WINDOWS, cpu: 'x64' },
];

const NOTICES = ['LICENSE', 'ThirdPartyNotices.txt'];
const platformsFolder = join(root, 'platforms');
const require = createRequire(join(root, 'packages', 'core-tensor', 'package.json'));

export const packageName = ({ os, cpu }: Platform): string => `@posttrain/onnxruntime-${os}-${cpu}`;
const platformFolder = ({ os, cpu }: Platform): string => join(platformsFolder, `onnxruntime-${os}-${cpu}`);

/** The fields of package.json by which package managers choose. */
export function platformFields({ os, cpu, libc }: Platform): object {
  return { os: [os], cpu: [cpu], ...(libc ? { libc: [libc] } : {}) };
}

/** The package.json of a platform's package. `os`, `cpu` and `libc` hold for the published package only. */
function platformManifest(platform: Platform, version: string): object {
  const { os, cpu, libraries } = platform;
  return {
    name: packageName(platform),
    version,
    description: `The shared library of ONNX Runtime ${version} for ${os} on ${cpu}.`,
    license: 'MIT',
    exports: { './library': `./${libraries[0]}`, './package.json': './package.json' },
    preferUnplugged: true,
    publishConfig: { access: 'public', provenance: true, ...platformFields(platform) },
    files: [...libraries, ...NOTICES],
    scripts: {
      prepack: 'node ../../scripts/prepack.mjs && tsx ../../scripts/fill-platform.ts',
      postpack: 'tsx ../../scripts/fill-platform.ts --empty',
    },
  };
}

interface PlatformsState {
  /** package.json by path. */
  readonly manifests: ReadonlyMap<string, string>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

/** What the table above makes of `platforms/` and of the dependencies of core-tensor. */
export function wantedPlatforms(): PlatformsState {
  const { version } = readJson<Manifest>(require.resolve('onnxruntime-node/package.json'));
  const manifests = PLATFORMS.map(
    (platform) =>
      [
        join(platformFolder(platform), 'package.json'),
        `${JSON.stringify(platformManifest(platform, version), null, 2)}\n`,
      ] as const,
  );
  return {
    manifests: new Map(manifests),
    optionalDependencies: Object.fromEntries(PLATFORMS.map((platform) => [packageName(platform), 'workspace:*'])),
  };
}

/** Where the repository, or the installed onnxruntime-node, is not as the table says. */
export function checkPlatforms(): string[] {
  const { manifests, optionalDependencies } = wantedPlatforms();
  const problems = [...manifests]
    .filter(([file, text]) => !existsSync(file) || readFileSync(file, 'utf8') !== text)
    .map(([file]) => `${relative(root, file)}: run \`npx tsx scripts/write-platforms.ts\``);
  const present = readJson<Manifest>(join(root, 'packages', 'core-tensor', 'package.json')).optionalDependencies;
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

/** Puts the library out of the installed onnxruntime-node, and its licence, into the folder of a platform's package. */
export function fillPlatform(folder: string): void {
  emptyPlatform(folder);
  const platform = PLATFORMS.find((candidate) => basename(platformFolder(candidate)) === basename(folder));
  if (!platform) throw new Error(`${folder} is not the folder of a platform's package`);
  for (const file of librariesOf(platform)) link(file, join(folder, basename(file)));
  for (const file of NOTICES) copyFileSync(join(platformsFolder, file), join(folder, file));
}

/** Takes it out again: here onnxruntime-node itself is used. */
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
