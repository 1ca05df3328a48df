import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Links of a built site that lead nowhere: to a page that is not there, or to a heading that it has not. `page: link` each. */
export function brokenLinks(folder: string): string[] {
  const pages = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.html'));
  const ids = new Map(
    pages.map((path) => [
      path,
      new Set([...readFileSync(join(folder, path), 'utf8').matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id!)),
    ]),
  );
  return pages.flatMap((path) =>
    [...readFileSync(join(folder, path), 'utf8').matchAll(/<a\s[^>]*?href="([^"]*)"/g)].flatMap(([, href]) => {
      if (/^[a-z]+:/.test(href!)) return [];
      const { pathname, hash } = new URL(href!.replaceAll('&amp;', '&'), `http://site/${path}`);
      const target = targetOf(folder, decodeURIComponent(pathname).slice(1));
      if (target === undefined) return [`${path}: ${href}`];
      const anchor = decodeURIComponent(hash.slice(1));
      return anchor === '' || !ids.has(target) || ids.get(target)!.has(anchor) ? [] : [`${path}: ${href}`];
    }),
  );
}

const targetOf = (folder: string, path: string): string | undefined =>
  [path, `${path}.html`, join(path, 'index.html')].find(
    (name) => /\.\w+$/.test(name) && existsSync(join(folder, name)),
  );
