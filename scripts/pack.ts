import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pnpm } from './setup.mjs';
import { type Manifest, root } from './workspace.js';

const tarballFolder = join(root, 'node_modules', '.cache', 'posttrain-tarballs');

export interface Tarball {
  /** Absolute path of the .tgz. */
  readonly file: string;
  /** Paths of the files in it, as in the published package (`dist/index.js`). */
  readonly paths: readonly string[];
  /** package.json as it would be published: publishConfig applied, no workspace protocol. */
  readonly manifest: Manifest;
}

/** Packs every package as `pnpm publish` would, sorted by name. The packages must have been built. */
export function packAll(): Tarball[] {
  rmSync(tarballFolder, { recursive: true, force: true });
  mkdirSync(tarballFolder, { recursive: true });
  const selection = ['--recursive', '--filter', './packages/*'];
  const [command = '', ...args] = [...pnpm(), ...selection, 'pack', '--json', '--pack-destination', tarballFolder];
  const packed = JSON.parse(capture(command, args)) as { filename: string }[];
  return packed
    .map(({ filename }) => ({ file: filename, paths: listPaths(filename), manifest: readPackedManifest(filename) }))
    .sort((a, b) => a.manifest.name.localeCompare(b.manifest.name));
}

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
