import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Tarball } from './pack.js';
import { runNpm } from './run-npm.js';

export type Installable = Pick<Tarball, 'file' | 'manifest'>;

export interface InstallOptions {
  /** What the packages' optional dependencies are taken from. */
  readonly optional?: readonly Installable[];
  /** Packages that are in the folder. */
  readonly workspaces?: readonly string[];
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly env?: NodeJS.ProcessEnv;
}

/** Makes a folder in which npm has installed the tarballs; everything else comes from the registry or npm's cache. */
export function installTarballs(folder: string, tarballs: readonly Installable[], options: InstallOptions = {}): void {
  const { optional = [], workspaces = [], devDependencies = {}, env = process.env } = options;
  mkdirSync(folder, { recursive: true });
  const copied = (some: readonly Installable[]): Record<string, string> => {
    for (const { file } of some) copyFileSync(file, join(folder, basename(file)));
    return Object.fromEntries(some.map(({ file, manifest }) => [manifest.name, `file:./${basename(file)}`]));
  };
  const manifest = {
    ...{ name: 'consumer', private: true, type: 'module', devDependencies },
    ...{ dependencies: copied(tarballs), overrides: copied(optional), workspaces },
  };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2));
  runNpm(folder, ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'], env);
}
