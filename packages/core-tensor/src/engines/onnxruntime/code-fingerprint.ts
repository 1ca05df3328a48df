import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE = '@posttrain/core-tensor';

let known: Promise<string | undefined> | undefined;

/**
 * A hash of this package's code as it is on this disk: its version says nothing between two releases. Undefined where the code is not
 * found as a package of this name, such as in a bundle of an app, since what else is in that is unknown, and where a part of it is a link.
 */
export function codeFingerprint(): Promise<string | undefined> {
  known ??= fingerprintOf(fileURLToPath(import.meta.url)).catch(() => undefined);
  return known;
}

/** The same for the package that a file of code is in. */
export async function fingerprintOf(file: string): Promise<string | undefined> {
  let root = dirname(file);
  while (!existsSync(join(root, 'package.json'))) {
    if (dirname(root) === root) return undefined;
    root = dirname(root);
  }
  const { name, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
  const [folder] = relative(root, file).split(sep) as [string];
  if (name !== PACKAGE || !['src', 'dist'].includes(folder)) return undefined;
  const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
  if (entries.some((entry) => entry.isSymbolicLink())) return undefined;
  const files = entries
    .filter((entry) => entry.isFile() && /\.[cm]?[jt]s$/.test(entry.name) && !/\.(test|d)\.[cm]?ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const contents = await Promise.all(files.map((path) => readFile(path)));
  const hash = createHash('sha256').update(`${version}\n`);
  for (const [i, path] of files.entries()) {
    const content = contents[i]!;
    hash.update(`${relative(root, path).split(sep).join('/')} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}
