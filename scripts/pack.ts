import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
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

/** Packs a package of `platforms/`, quickly or small. */
export function packPlatform(name: string, into = checkedTarballs('platforms'), compression: 1 | 9 = 1): Tarball {
  return pack(name, into, [`--pack-gzip-level=${compression}`])[0]!;
}

const checkedTarballs = (kind: string): string => join(root, 'node_modules', '.cache', 'posttrain-tarballs', kind);

/** Earlier tarballs of the same packages are removed from the folder, nothing else. */
function pack(filter: string, folder: string, options: readonly string[] = []): Tarball[] {
  const into = resolve(folder);
  mkdirSync(into, { recursive: true });
  const staging = mkdtempSync(join(into, 'packing-'));
  try {
    const selection = ['--recursive', '--filter', filter];
    const [command = '', ...args] = [...pnpm(), ...selection, 'pack', ...options, '--pack-destination', staging];
    capture(command, args);
    return readdirSync(staging)
      .map((name) => ({ manifest: readPackedManifest(join(staging, name)), name }))
      .sort((a, b) => a.manifest.name.localeCompare(b.manifest.name))
      .map(({ manifest, name }) => {
        const file = join(into, name);
        const older = name.slice(0, -`${manifest.version}.tgz`.length);
        for (const other of readdirSync(into)) {
          if (other.startsWith(older) && /^\d.*\.tgz$/.test(other.slice(older.length))) rmSync(join(into, other));
        }
        renameSync(join(staging, name), file);
        return { file, paths: listPaths(file), manifest };
      });
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
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
