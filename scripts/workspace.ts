import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

type Dependencies = Readonly<Record<string, string>>;

/** The fields of package.json that the checks read. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description?: string;
  readonly keywords?: readonly string[];
  readonly repository?: object;
  readonly type?: string;
  readonly license?: string;
  readonly sideEffects?: boolean | readonly string[];
  readonly engines?: { readonly node?: string };
  readonly files?: readonly string[];
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly publishConfig?: { readonly exports?: Manifest['exports'] };
  readonly dependencies?: Dependencies;
  readonly peerDependencies?: Dependencies;
  readonly optionalDependencies?: Dependencies;
  readonly scripts?: Readonly<Record<string, string>>;
}

export interface WorkspacePackage {
  /** Absolute path. */
  readonly folder: string;
  readonly manifest: Manifest;
}

/** The published packages (`packages/*`), by folder name. */
export function listPackages(workspace: string = root): WorkspacePackage[] {
  return readdirSync(join(workspace, 'packages'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(workspace, 'packages', entry.name))
    .sort()
    .map((folder) => ({ folder, manifest: readJson<Manifest>(join(folder, 'package.json')) }));
}

/** Entry points of a manifest that are code: `.` and subpaths, without `./package.json`. */
export function codeEntries(exports: Manifest['exports']): string[] {
  return Object.keys(exports ?? {}).filter((subpath) => subpath !== './package.json');
}

/** The source file of an entry point, relative to its package; of one with a variant for browsers, Node's. */
export function sourceOf(exports: Manifest['exports'], entry: string): string {
  const target = exports?.[entry];
  return String(typeof target === 'object' ? target.default : target);
}

export function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(file, 'utf8')) as T;
}

/** Paths, relative to the root, of the files git tracks or would track; undefined where this is not a git checkout. */
export function listTrackedFiles(workspace: string = root): string[] | undefined {
  try {
    const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
    const output = execFileSync('git', args, { cwd: workspace, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return output.split('\0').filter((path) => path !== '');
  } catch {
    return undefined;
  }
}
