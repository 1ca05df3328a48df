import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { listTrackedFiles, root } from './workspace.js';

/** Headings of a Markdown file as GitHub names them in links. */
const anchorsOf = (markdown: string): Set<string> =>
  new Set(
    [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );

/** Links of a page that lead nowhere: to a file that is not there, or to a heading that no file has. */
function deadLinks(path: string): string[] {
  const file = join(root, path);
  const text = readFileSync(file, 'utf8').replaceAll(/^```[\s\S]*?^```/gm, '');
  return [...text.matchAll(/\]\((?!https?:)([^)\s#]*)(?:#([^)\s]*))?\)/g)].flatMap(([, target = '', anchor]) => {
    const there = target === '' ? file : join(dirname(file), target);
    if (!existsSync(there)) return [`${path}: ${target}`];
    if (anchor === undefined || !there.endsWith('.md')) return [];
    return anchorsOf(readFileSync(there, 'utf8')).has(anchor) ? [] : [`${path}: ${target}#${anchor}`];
  });
}

it('every link of a Markdown page leads somewhere', (context) => {
  const pages = listTrackedFiles()?.filter((path) => path.endsWith('.md') && !path.startsWith('.changeset'));
  if (!pages) return context.skip('not a git checkout');
  expect(pages.filter((path) => existsSync(join(root, path))).flatMap(deadLinks)).toEqual([]);
});
