import type { SitePage } from './pages.js';

/** A line of the list at the side: a page, or a heading with the pages below it. */
export interface SidebarItem {
  readonly text: string;
  readonly link?: string;
  readonly collapsed?: boolean;
  readonly items?: readonly SidebarItem[];
}

const GUIDES: readonly (readonly [folder: string, title: string])[] = [
  ['core-tensor/', 'Tensors and engines'],
  ['lm/', 'Models'],
  ['peft/', 'Adapters and merging'],
  ['training/', 'Training'],
  ['rl/', 'Rewards, preferences, reinforcement'],
  ['tts/', 'Search at test time'],
  ['data/', 'Data'],
  ['eval/', 'Evaluation'],
  ['interfaces/', 'Interfaces'],
];

/** Pages at the top of docs/ and beside it, in the order in which somebody new reads them. */
const FIRST = [
  'start',
  'cli',
  'running',
  'one-import-each',
  'nouns',
  'trl-names',
  'serving',
  'ARCHITECTURE',
  'CONTRIBUTING',
];
const LAST = ['coverage', 'benchmarks/RESULTS', 'benchmarks/NOTES', 'conformance', 'engines', 'doors'];

/** Lists at the side, by the folder whose pages show them: one list on every page would be most of the site's bytes. */
export function navigation(pages: readonly SitePage[]): Readonly<Record<string, readonly SidebarItem[]>> {
  const byPath = new Map(pages.map((page) => [page.path.replace(/\.md$/, ''), page]));
  const item = (path: string): SidebarItem[] => {
    const page = byPath.get(path);
    return page ? [{ text: page.title, link: `/${path.replace(/(^|\/)index$/, '$1')}` }] : [];
  };
  const under = (folder: string): SidebarItem[] =>
    [...byPath.keys()]
      .filter((path) => path.startsWith(folder))
      .sort()
      .flatMap(item);
  const group = (text: string, items: readonly SidebarItem[], collapsed = true): SidebarItem[] =>
    items.length > 0 ? [{ text, collapsed, items }] : [];
  return {
    '/methods/': group('Methods', under('methods/'), false),
    '/api': group('Names', under('api'), false),
    '/': [
      ...group('Start', FIRST.flatMap(item), false),
      ...group(
        'Guides',
        GUIDES.flatMap(([folder, title]) => group(title, under(folder))),
        false,
      ),
      ...group('Recipes', under('examples/')),
      ...group('Packages', under('packages/')),
      ...group('What is measured', LAST.flatMap(item)),
      ...group('Decisions', under('decisions/')),
    ],
  };
}
