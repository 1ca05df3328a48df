import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { pnpm } from './setup.mjs';
import { type Manifest, root } from './workspace.js';

export interface Tarball {
  /** Absolute path of the .tgz. */
  readonly file: string;
  /** Paths of the files in it, as in the published package (`dist/index.js`). */
  readonly paths: readonly string[];
  /** package.json as it would be published: publishConfig applied, no workspace protocol. */
  readonly manifest: Manifest;
}

/** Packs every package as `pnpm publish` would, sorted by name. The packages must have been built. */
export function packAll(into = checkedTarballs('packages')): Tarball[] {
  return pack('./packages/*', into);
}

/** Packs the packages in `platforms/`, quickly or small. */
export function packPlatforms(into = checkedTarballs('platforms'), compression: 1 | 9 = 1): Tarball[] {
  return pack('./platforms/*', into, [`--pack-gzip-level=${compression}`]);
}

const checkedTarballs = (kind: string): string => join(root, 'node_modules', '.cache', 'posttrain-tarballs', kind);

/** Tarballs of earlier times are removed from the folder, nothing else. */
function pack(filter: string, folder: string, options: readonly string[] = []): Tarball[] {
  const into = resolve(folder);
  mkdirSync(into, { recursive: true });
  for (const file of tarballsIn(into)) rmSync(file);
  const selection = ['--recursive', '--filter', filter];
  const [command = '', ...args] = [...pnpm(), ...selection, 'pack', ...options, '--pack-destination', into];
  capture(command, args);
  return tarballsIn(into)
    .map((file) => ({ file, paths: listPaths(file), manifest: readPackedManifest(file) }))
    .sort((a, b) => a.manifest.name.localeCompare(b.manifest.name));
}

const tarballsIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.tgz'))
    .map((file) => join(folder, file));

// tar gets a relative path, because it takes the colon of a Windows drive for the end of a host name.
function listPaths(file: string): string[] {
  const paths = capture('tar', ['-tzf', relative(root, file)])
    .trim()
    .split(/\r?\n/);
  return paths.map((path) => path.replace(/^package\//, ''));
}

function readPackedManifest(file: string): Manifest {
  return JSON.parse(capture('tar', ['-xzOf', relative(root, file), 'package/package.json'])) as Manifest;
}

function capture(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}
