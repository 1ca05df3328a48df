import { join } from 'node:path';
import ts from 'typescript';
import { codeEntries, listPackages } from './workspace.js';

/** A public name of a package. */
export interface PublicName {
  readonly name: string;
  readonly kind: 'function' | 'class' | 'type' | 'value';
  /** The first sentence of its docstring; empty where it has none. */
  readonly summary: string;
}

/** An entry point (`@posttrain/lm`, `@posttrain/core-tensor/optim`) with what it exports, by name. */
export interface EntryPoint {
  readonly entry: string;
  readonly names: readonly PublicName[];
}

/** The source file of every entry point of every package. */
export function entryFiles(workspace: string): { readonly entry: string; readonly file: string }[] {
  return listPackages(workspace).flatMap(({ folder, manifest }) =>
    codeEntries(manifest.exports).map((subpath) => ({
      entry: manifest.name + subpath.slice(1),
      file: join(folder, sourceOf(manifest.exports?.[subpath])),
    })),
  );
}

/** The sources of all entry points, as TypeScript reads them with the workspace's settings. */
export function programOf(workspace: string): ts.Program {
  const { config } = ts.readConfigFile(join(workspace, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, workspace);
  return ts.createProgram(
    entryFiles(workspace).map(({ file }) => file),
    { ...options, noEmit: true },
  );
}

/**
 * Every entry point of every package with all its public names, read by TypeScript from the sources. `program`: one that has
 * all of `entryFiles`.
 */
export function publicNames(workspace: string, program: ts.Program = programOf(workspace)): EntryPoint[] {
  const checker = program.getTypeChecker();
  return entryFiles(workspace).map(({ entry, file }) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(file)!);
    const symbols = module ? checker.getExportsOfModule(module) : [];
    const names = symbols.map((symbol) => describe(checker, symbol)).sort((a, b) => compare(a.name, b.name));
    return { entry, names };
  });
}

/** Conditional exports name the same source for its types and for every platform; the first that is text will do. */
const sourceOf = (target: string | Readonly<Record<string, string>> | undefined): string =>
  typeof target === 'string' ? target : Object.values(target ?? {})[0]!;

function describe(checker: ts.TypeChecker, exported: ts.Symbol): PublicName {
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const text = ts.displayPartsToString(symbol.getDocumentationComment(checker));
  return { name: exported.name, kind: kindOf(checker, symbol), summary: firstSentence(text) };
}

function kindOf(checker: ts.TypeChecker, symbol: ts.Symbol): PublicName['kind'] {
  if (symbol.flags & ts.SymbolFlags.Class) return 'class';
  if (symbol.flags & ts.SymbolFlags.Function) return 'function';
  if (!(symbol.flags & ts.SymbolFlags.Value)) return 'type';
  const type = checker.getTypeOfSymbol(symbol);
  return type.getCallSignatures().length > 0 ? 'function' : 'value';
}

/** Up to the first full stop that ends a sentence and not an abbreviation or a number. */
function firstSentence(text: string): string {
  const line = text
    .split(/\n\s*\n/, 1)[0]!
    .replace(/\s+/g, ' ')
    .trim();
  const end = /(?<!\b(?:e\.g|i\.e|al|cf|vs))[.:](?= [A-Z`(]|$)/.exec(line);
  return end ? line.slice(0, end.index) : line;
}

const compare = (a: string, b: string) => (a < b ? -1 : Number(a > b));

/** `entry: name` of every public name without a docstring. */
export function undocumented(entries: readonly EntryPoint[]): string[] {
  return entries.flatMap(({ entry, names }) =>
    names.filter(({ summary }) => summary === '').map(({ name }) => `${entry}: ${name}`),
  );
}

/** docs/api.md: the names of each entry point, by kind. */
export function renderApi(entries: readonly EntryPoint[]): string {
  const sections = entries.map(({ entry, names }) => {
    const rows = names.map(({ name, kind, summary }) => `| \`${name}\` | ${kind} | ${escaped(summary)} |`);
    return [`## ${entry}`, '', '| name | kind | what it is |', '| --- | --- | --- |', ...rows].join('\n');
  });
  const head = [
    '# Public names',
    '',
    'Every name that a package exports, with the first sentence of its docstring. Written by `npm run api`; a test holds it',
    'to the sources, and refuses a name without a docstring.',
  ];
  return `${[head.join('\n'), ...sections].join('\n\n')}\n`;
}

const escaped = (text: string) => text.replaceAll('|', '\\|');
