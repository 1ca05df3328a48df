// Which slow tests a change touches: those of the packages, examples and scripts whose files it changes.
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** The files that differ from `since` (a commit; default: the first parent of HEAD), or undefined where git cannot tell. */
export function changedFiles(root, since = process.env.POSTTRAIN_SINCE || 'HEAD^') {
  try {
    const args = ['diff', '--name-only', '-z', since];
    const output = execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return output.split('\0').filter((path) => path !== '');
  } catch {
    return undefined;
  }
}

/** Slow tests below `packages/`, `examples/` and `scripts/`, relative to the root. */
export function slowTests(root) {
  return ['packages', 'examples', 'scripts'].flatMap((folder) =>
    readdirSync(join(root, folder), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => filesBelow(join(root, folder, name)).map((path) => `${folder}/${name}/${path}`))
      .filter((path) => path.endsWith('.slow.test.ts')),
  );
}

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (['node_modules', 'dist', 'goldens'].includes(entry.name)) return [];
    if (!entry.isDirectory()) return [entry.name];
    return filesBelow(join(folder, entry.name)).map((path) => `${entry.name}/${path}`);
  });
}

/**
 * Those of `tests` whose folder has changed files. What is changed at the root touches all of them, and a kit (`src/testing`) what
 * `npm run new` lays out.
 */
export function touchedBy(changed, tests) {
  const folderOf = (path) => /^(?:packages|examples|scripts)\/[^/]+\//.exec(path)?.[0];
  const isCode = (path) => !/\.(md|svg)$/.test(path);
  const folders = new Set(changed.filter(isCode).map(folderOf));
  if (changed.some((path) => /^packages\/[^/]+\/src\/testing\//.test(path))) folders.add('scripts/new/');
  const shared = changed.some((path) => /^(testing\/|vitest\.config\.ts|pnpm-lock\.yaml)/.test(path));
  return tests.filter((path) => shared || folders.has(folderOf(path)));
}
