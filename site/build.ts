/**
 * `npm run docs`: writes the pages of the site from the repository's Markdown and docstrings, builds them with VitePress into
 * `site/dist`, and checks every link and anchor of what was built.
 *
 * usage: npx tsx site/build.ts [--pages-only]
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Coverage } from '../scripts/coverage.js';
import { npm } from '../scripts/setup.mjs';
import { listTrackedFiles, readJson, root } from '../scripts/workspace.js';
import { brokenLinks } from './check.js';
import { homePage } from './home.js';
import { methodPages } from './methods.js';
import { navigation } from './navigation.js';
import { imagesOf, placeOf, repositoryPages } from './pages.js';

const site = import.meta.dirname;
const pagesFolder = join(site, 'pages');
const files = listTrackedFiles();
if (!files) throw new Error('npm run docs reads the files that git tracks: run it in a checkout');
const { repository } = readJson<{ repository?: { url?: string } }>(join(root, 'package.json'));
const address = repository?.url?.replace(/^git\+|\.git$/g, '');

const coverage = readJson<Coverage>(join(root, 'docs', 'coverage.json'));
const pages = [homePage(root), ...repositoryPages(files, { root, address }), ...methodPages(root, coverage, files)];
rmSync(pagesFolder, { recursive: true, force: true });
for (const { path, text } of pages) {
  mkdirSync(dirname(join(pagesFolder, path)), { recursive: true });
  writeFileSync(join(pagesFolder, path), text);
}
for (const file of files.filter((path) => placeOf(path) !== undefined)) {
  for (const { from, to } of imagesOf(readFileSync(join(root, file), 'utf8'), file)) {
    mkdirSync(dirname(join(pagesFolder, to)), { recursive: true });
    copyFileSync(join(root, from), join(pagesFolder, to));
  }
}
writeFileSync(join(pagesFolder, 'navigation.json'), JSON.stringify(navigation(pages)));
console.log(`${pages.length} pages`);

if (!process.argv.includes('--pages-only')) {
  // VitePress is no part of the workspace: nobody who trains or tests needs its 100 MB.
  const vitepress = join(site, 'node_modules', 'vitepress', 'bin', 'vitepress.js');
  if (!existsSync(vitepress)) {
    const [command = '', ...args] = npm();
    const { status } = spawnSync(command, [...args, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: site,
      stdio: 'inherit',
    });
    if (status !== 0) process.exit(status ?? 1);
  }
  const { status } = spawnSync(process.execPath, [vitepress, 'build', site], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
  const broken = brokenLinks(join(site, 'dist'));
  for (const problem of broken) console.error(`problem: ${problem}`);
  console.log(`site/dist: ${broken.length} links that lead nowhere`);
  process.exitCode = broken.length === 0 ? 0 : 1;
}
