import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Tarball } from './pack.js';
import { npm } from './setup.mjs';

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
  const [command = '', ...args] = [
    ...npm(),
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ];
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    cwd: folder,
    env,
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (status !== 0)
    throw new Error(`npm install in ${basename(folder)} ended with ${status ?? signal}:\n${stdout}${stderr}`);
}
