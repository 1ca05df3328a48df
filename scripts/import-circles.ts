import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** Who imports whom among the source files of one package, by paths relative to its `src`. */
export interface ImportGraph {
  /** All static imports and re-exports. */
  readonly all: ReadonlyMap<string, readonly string[]>;
  /** Those that are still there when the types are gone: what is loaded together. */
  readonly atRunTime: ReadonlyMap<string, readonly string[]>;
}

/** One `import … from 'x'`, `export … from 'x'` or `import 'x'`, with whether nothing of it remains at run time. */
interface ImportLine {
  readonly from: string;
  readonly isTypeOnly: boolean;
}

const STATEMENT = /^(?:import|export)\s+(type\s+)?(?:([^'"`;()=]*?)\s*from\s*)?(['"])([^'"\n]+)\3/gm;
const COMMENT = /\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm;

/**
 * The static imports of a module, by a pattern over its text: statements begin a line here (Biome's format), so no parser is
 * needed. `import()` does not count: what it names is loaded later.
 */
export function importsOf(source: string): ImportLine[] {
  return [...source.replace(COMMENT, '').matchAll(STATEMENT)].map(([, type, clause = '', , from]) => {
    const names = /^\{([\s\S]*)\}$/.exec(clause.trim())?.[1]?.split(',');
    const named = names?.map((name) => name.trim()).filter((name) => name !== '') ?? [];
    const isTypeOnly = type !== undefined || (named.length > 0 && named.every((name) => name.startsWith('type ')));
    return { from: from!, isTypeOnly };
  });
}

/** Reads the import graph of a folder of TypeScript; tests are left out. */
export function readImportGraph(folder: string): ImportGraph {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
  const present = new Set(files);
  const all = new Map<string, string[]>();
  const atRunTime = new Map<string, string[]>();
  for (const file of files) {
    const targets = importsOf(readFileSync(join(folder, file), 'utf8')).flatMap(({ from, isTypeOnly }) => {
      if (!from.startsWith('.')) return [];
      const path = relative(folder, join(folder, dirname(file), from.replace(/\.js$/, '.ts'))).replaceAll('\\', '/');
      return present.has(path) ? [{ path, isTypeOnly }] : [];
    });
    all.set(
      file,
      targets.map(({ path }) => path),
    );
    atRunTime.set(
      file,
      targets.filter(({ isTypeOnly }) => !isTypeOnly).map(({ path }) => path),
    );
  }
  return { all, atRunTime };
}

/**
 * The circles of a graph: its strongly connected components of more than one node, and nodes that lead to themselves
 * (Tarjan, SIAM J. Comput. 1972). Each is sorted; the largest comes first.
 */
export function findCircles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const open = new Set<string>();
  const circles: string[][] = [];
  const visit = (node: string): void => {
    index.set(node, index.size);
    low.set(node, index.get(node)!);
    stack.push(node);
    open.add(node);
    for (const next of graph.get(node) ?? []) {
      if (!index.has(next)) visit(next);
      if (open.has(next)) low.set(node, Math.min(low.get(node)!, low.get(next)!));
    }
    if (low.get(node) !== index.get(node)) return;
    const component: string[] = [];
    while (open.has(node)) {
      const member = stack.pop()!;
      open.delete(member);
      component.push(member);
    }
    if (component.length > 1 || graph.get(node)?.includes(node)) circles.push(component.sort());
  };
  for (const node of graph.keys()) if (!index.has(node)) visit(node);
  return circles.sort((a, b) => b.length - a.length);
}
