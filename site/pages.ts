// The Markdown pages of the repository as pages of the site: where each goes, and its links rewritten.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { anchorOf } from './anchors.js';

/** A page of the site: where it is in the site (`peft/methods.md`), and its text. */
export interface SitePage {
  readonly path: string;
  readonly title: string;
  readonly text: string;
}

/** Folders whose pages stand in the site, and where: the longest that a file is in decides. */
const PLACES: readonly (readonly [from: string, to: string])[] = [
  ['docs/', ''],
  ['packages/', 'packages/'],
  ['examples/', 'examples/'],
  ['benchmarks/', 'benchmarks/'],
  ['goldens/', 'goldens/'],
  ['', ''],
];

/** Pages of nobody's reading: data of tests, and lists of changes that are not released. */
const isLeftOut = (file: string): boolean => /(^|\/)test\/|^\.changeset\/|(^|\/)templates\//.test(file);

/** Where a Markdown file of the repository stands in the site; undefined for one that is left out. */
export function placeOf(file: string): string | undefined {
  if (!file.endsWith('.md') || isLeftOut(file)) return undefined;
  if (file === 'README.md') return 'start.md';
  const [from, to] = PLACES.find(([folder]) => file.startsWith(folder))!;
  const place = to + file.slice(from.length);
  return basename(place) === 'README.md' ? join(dirname(place), 'index.md') : place;
}

/** The text of a page whose links lead to pages of the site; what is no page leads to the repository, where it has an address. */
export function rewriteLinks(text: string, file: string, repository: Repository): string {
  return outsideFences(text, (part) =>
    part.replaceAll(
      /(!?)\[((?:[^[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:)([^)\s#]*)(#[^)\s]*)?\)/g,
      (whole, image: string, label: string, target: string, anchor = '') => {
        if (image !== '' || target === '') return whole;
        const there = join(dirname(file), target);
        const page = pageAt(there, repository.root);
        if (page !== undefined) return `[${label}](/${page.replace(/\.md$/, '')}${anchor})`;
        return repository.address === undefined ? label : `[${label}](${repository.address}/blob/main/${there})`;
      },
    ),
  );
}

/** The repository that pages are of. `address`: where its files can be seen; undefined while it has none. */
export interface Repository {
  readonly root: string;
  readonly address: string | undefined;
}

/** The page that a path leads to: a page itself, or the one of a folder. */
function pageAt(path: string, root: string): string | undefined {
  const file = join(root, path);
  if (!existsSync(file)) throw new Error(`a link to ${path}, which is not there`);
  if (!statSync(file).isDirectory()) return placeOf(path);
  const readme = join(path, 'README.md');
  return existsSync(join(root, readme)) ? placeOf(readme) : undefined;
}

/** Images are read beside the page that shows them, so they come along: their paths in the repository, and in the site. */
export function imagesOf(text: string, file: string): { readonly from: string; readonly to: string }[] {
  return [...text.matchAll(/!\[[^\]]*\]\((?!https?:)([^)\s]+)\)/g)].map(([, target]) => ({
    from: join(dirname(file), target!),
    to: join(dirname(placeOf(file)!), target!),
  }));
}

/** Applies `change` to what is not a fenced block of code. */
export function outsideFences(text: string, change: (part: string) => string): string {
  return text
    .split(/^(```[\s\S]*?^```[^\n]*$)/m)
    .map((part, index) => (index % 2 === 0 ? change(part) : part))
    .join('');
}

/** Comments are for who writes the page. */
export const withoutComments = (text: string): string => text.replaceAll(/^<!--[\s\S]*?-->\n/gm, '');

export const titleOf = (text: string, file: string): string =>
  /^# (.*)$/m.exec(text)?.[1]?.replaceAll('`', '') ?? relative(dirname(dirname(file)), file);

/** All pages of the repository, as pages of the site. The list of public names is cut by entry point: whole it is half a megabyte. */
export function repositoryPages(files: readonly string[], repository: Repository): SitePage[] {
  return files.flatMap((file) => {
    const path = placeOf(file);
    if (path === undefined) return [];
    const text = withoutComments(rewriteLinks(readFileSync(join(repository.root, file), 'utf8'), file, repository));
    const page = { path, title: titleOf(text, file), text };
    return path === 'api.md' ? byEntryPoint(page) : [page];
  });
}

function byEntryPoint({ path, title, text }: SitePage): SitePage[] {
  const [head, ...sections] = text.split(/^## /m);
  const entries = sections.map((section) => {
    const name = section.slice(0, section.indexOf('\n')).trim();
    return { path: `api/${anchorOf(name.replaceAll('/', ' '))}.md`, title: name, text: `# ${section}` };
  });
  const list = entries.map((entry) => `- [\`${entry.title}\`](/${entry.path.replace(/\.md$/, '')})`).join('\n');
  return [{ path, title, text: `${head!.trim()}\n\n${list}\n` }, ...entries];
}
