import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type Manifest, readJson, sourceOf } from '../workspace.js';

/** `import { names } from 'from'`, with `type ` before names that are types only. */
export interface NamedImport {
  readonly names: readonly string[];
  readonly from: string;
}

const IMPORT = /^import (type )?\{([^}]*)\} from '([^']+)';\n/gm;
const EXPORT = /^export (type )?\{([^}]*)\} from '([^']+)';/gm;
const bare = (name: string): string => name.replace(/^type /, '');

const listOf = (names: string, isType: boolean): string[] =>
  names
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .map((name) => (isType ? `type ${name}` : name));

/** The named imports of a formatted module, and its text without them. */
export function splitImports(text: string): { imports: NamedImport[]; body: string } {
  const imports = [...text.matchAll(IMPORT)].map(([, type, names, from]) => ({
    names: listOf(names!, type !== undefined),
    from: from!,
  }));
  return { imports, body: text.replace(IMPORT, '') };
}

/** Imports as text; the formatter makes one of several from the same module, and sorts them. */
export const showImports = (imports: readonly NamedImport[]): string =>
  imports.map(({ names, from }) => `import { ${names.join(', ')} } from '${from}';\n`).join('');

/** The imports without the names that a module imports already. */
export function withoutPresent(imports: readonly NamedImport[], present: readonly NamedImport[]): NamedImport[] {
  return imports
    .map(({ names, from }) => {
      const there = new Set(present.filter((one) => one.from === from).flatMap((one) => one.names.map(bare)));
      return { names: names.filter((name) => !there.has(bare(name))), from };
    })
    .filter(({ names }) => names.length > 0);
}

/** What a module declares for others: names, with `type ` before those that are types only. */
export const exportedNames = (text: string): string[] =>
  [...text.matchAll(/^export (?:async )?(function|const|class|interface|type) (\w+)/gm)].map(([, word, name]) =>
    word === 'interface' || word === 'type' ? `type ${name}` : name!,
  );

/** Name → the module that declares it, of all that a module of exports (`index.ts`) gives on. */
export function modulesOfNames(index: string): Map<string, string> {
  const found = new Map<string, string>();
  const text = readFileSync(index, 'utf8');
  const moduleOf = (from: string) => join(dirname(index), from.replace(/\.js$/, '.ts'));
  for (const [, , names, from] of text.matchAll(EXPORT)) {
    if (!from!.startsWith('.')) continue;
    for (const name of listOf(names!, false)) found.set(bare(name).replace(/^.* as /, ''), moduleOf(from!));
  }
  for (const [, from] of text.matchAll(/^export (?:type )?\* from '(\.[^']+)';/gm)) {
    for (const [name, module] of modulesOfNames(moduleOf(from!))) found.set(name, module);
  }
  return found;
}

/** The source of an entry point (`@posttrain/rl/testing`) of a workspace; undefined for what is no package of it. */
export function entrySource(workspace: string, specifier: string): string | undefined {
  const [, name, subpath] = /^@posttrain\/([\w-]+)(\/.*)?$/.exec(specifier) ?? [];
  const folder = join(workspace, 'packages', name ?? '');
  if (!name || !existsSync(join(folder, 'package.json'))) return undefined;
  const { exports } = readJson<Manifest>(join(folder, 'package.json'));
  return join(folder, sourceOf(exports, `.${subpath ?? ''}`));
}

/** How a module imports another: `./advantage.js`. */
export function specifierBetween(from: string, to: string): string {
  const path = relative(dirname(from), to).replaceAll('\\', '/').replace(/\.ts$/, '.js');
  return path.startsWith('.') ? path : `./${path}`;
}
