import { cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../workspace.js';

/**
 * A copy of the packages with what their checks read, in a new temporary folder, for tests that change files. What is installed is
 * linked; the packages themselves are those of the copy.
 */
export function copyRepository(): string {
  const copy = mkdtempSync(join(realpathSync(tmpdir()), 'posttrain-new-'));
  for (const file of ['package.json', 'tsconfig.json', 'vitest.config.ts', 'docs/coverage.json']) {
    cpSync(join(root, file), join(copy, file));
  }
  mkdirSync(join(copy, '.changeset'));
  // What sets tests up imports packages by path, so it is of the copy as well.
  for (const folder of ['goldens', 'testing']) cpSync(join(root, folder), join(copy, folder), { recursive: true });
  symlinkSync(join(root, 'scripts'), join(copy, 'scripts'), 'junction');
  for (const name of readdirSync(join(root, 'packages'))) {
    const [from, to] = [join(root, 'packages', name), join(copy, 'packages', name)];
    const isCopied = (path: string) => !/[\\/](node_modules|dist|\.turbo)$/.test(path);
    cpSync(from, to, { recursive: true, filter: isCopied });
    linkInstalled(join(from, 'node_modules'), join(to, 'node_modules'), copy);
  }
  linkInstalled(join(root, 'node_modules'), join(copy, 'node_modules'), copy);
  return copy;
}

function linkInstalled(from: string, to: string, copy: string): void {
  if (!existsSync(from)) return;
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    const [there, here] = [join(from, name), join(to, name)];
    if (name === '@posttrain') {
      mkdirSync(here);
      for (const own of readdirSync(there)) symlinkSync(join(copy, 'packages', own), join(here, own), 'junction');
    } else if (name.startsWith('@')) linkInstalled(there, here, copy);
    else if (!name.startsWith('.') && lstatSync(there).isSymbolicLink())
      symlinkSync(realpathSync(there), here, 'junction');
  }
}
