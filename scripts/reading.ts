import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

/** How much there may be to read, of `scripts/budgets.json`. */
export interface ReadingBudget {
  /**
   * The lines that say GRPO, from a step of the run to the loss: what is the same in every run is not counted. By file, the
   * functions; of an object, `object.property`.
   */
  readonly grpo: {
    readonly files: number;
    readonly lines: number;
    readonly declarations: Readonly<Record<string, readonly string[]>>;
  };
  /** What a newcomer reads: the architecture, the loops, one file of each kind. */
  readonly path: { readonly lines: number; readonly files: readonly string[] };
}

/** The lines of declarations of a file, by name: from the first word to the last bracket, without the docstring. */
export function linesOfDeclarations(source: string, names: readonly string[]): Map<string, number> {
  const file = ts.createSourceFile('file.ts', source, ts.ScriptTarget.Latest, true);
  const found = new Map<string, number>();
  const lineAt = (position: number) => file.getLineAndCharacterOfPosition(position).line;
  const visit = (node: ts.Node, within: string): void => {
    const named =
      ts.isFunctionDeclaration(node) ||
      ts.isVariableDeclaration(node) ||
      ts.isPropertyAssignment(node) ||
      ts.isMethodDeclaration(node);
    const own = named && node.name ? within + node.name.getText(file) : within;
    if (named && names.includes(own)) found.set(own, lineAt(node.getEnd()) - lineAt(node.getStart(file)) + 1);
    const next = ts.isVariableDeclaration(node) && named ? `${own}.` : within;
    ts.forEachChild(node, (child) => visit(child, next));
  };
  visit(file, '');
  return found;
}

const countLines = (text: string): number => text.trimEnd().split('\n').length;

/** A line for everything that there is too much of, or that is not there. `read` gives the text of a file of the repository. */
export function overReadingBudget({ grpo, path }: ReadingBudget, read: (file: string) => string): string[] {
  const problems: string[] = [];
  const files = Object.entries(grpo.declarations);
  let lines = 0;
  for (const [file, names] of files) {
    const found = linesOfDeclarations(read(file), names);
    const missing = names.filter((name) => !found.has(name));
    if (missing.length > 0) problems.push(`scripts/budgets.json: ${file} has no ${missing.join(', ')}`);
    for (const count of found.values()) lines += count;
  }
  if (files.length > grpo.files || lines > grpo.lines) {
    const most = `at most ${grpo.files} and ${grpo.lines}`;
    problems.push(`the lines that say GRPO are in ${files.length} files, ${lines} of them (${most})`);
  }
  const toRead = path.files.reduce((sum, file) => sum + countLines(read(file)), 0);
  if (toRead > path.lines) problems.push(`the reader's path has ${toRead} lines (at most ${path.lines})`);
  return problems;
}

/** The same for the repository in a folder. */
export const checkReading = (workspace: string, budget: ReadingBudget): string[] =>
  overReadingBudget(budget, (file) => readFileSync(join(workspace, file), 'utf8'));
