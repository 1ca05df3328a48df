import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ReadingBudget } from './reading.js';
import { listTrackedFiles } from './workspace.js';

/** What the repository may grow to: `scripts/budgets.json`. */
export interface Budgets {
  /** Most test files. A method adds a golden and a line to the table of its kind, rarely a file. */
  readonly testFiles: number;
  /** Most kilobytes (1,000 bytes) of one golden. */
  readonly goldenKilobytes: number;
  /** Most megabytes of all goldens. */
  readonly goldensMegabytes: number;
  /** Most kilobytes of what a study (a folder of `examples/`) commits as its output. */
  readonly studyKilobytes: number;
  /** Seconds of the unit tests on two cores, by package; "everything else" is the rest together. */
  readonly seconds: Readonly<Record<string, number>>;
  /** Goldens from before the budget, with their bytes: they may become smaller, not larger, and none is added. */
  readonly largerGoldens: Readonly<Record<string, number>>;
  readonly reading: ReadingBudget;
}

export const readBudgets = (workspace: string): Budgets =>
  JSON.parse(readFileSync(join(workspace, 'scripts', 'budgets.json'), 'utf8')) as Budgets;

/** A tracked file and its size in bytes. */
export interface SizedFile {
  readonly path: string;
  readonly bytes: number;
}

const isTest = (path: string) => path.endsWith('.test.ts');
/** What the references wrote: not the scripts that made them write it. */
const isGolden = (path: string) =>
  /^(goldens|packages\/[^/]+\/test\/goldens)\//.test(path) && !/\.(py|sh|md|txt|ts)$/.test(path);
const studyOf = (path: string) => /^examples\/([^/]+)\/results\//.exec(path)?.[1];

/** Where the tracked files are more or larger than the budgets allow; undefined where git cannot list them. */
export function checkBudgets(workspace: string): string[] | undefined {
  const files = listTrackedFiles(workspace)?.flatMap((path): SizedFile[] => {
    const found = statSync(join(workspace, path), { throwIfNoEntry: false });
    return found?.isFile() ? [{ path, bytes: found.size }] : [];
  });
  return files && overBudget(files, readBudgets(workspace));
}

/** A line for everything that is over its budget. */
export function overBudget(files: readonly SizedFile[], budgets: Omit<Budgets, 'reading'>): string[] {
  const problems: string[] = [];
  const tests = files.filter(({ path }) => isTest(path)).length;
  if (tests > budgets.testFiles) {
    problems.push(`${tests} test files (at most ${budgets.testFiles}): add lines to the tables of their kinds instead`);
  }
  const goldens = files.filter(({ path }) => isGolden(path));
  for (const { path, bytes } of goldens) {
    const most = budgets.largerGoldens[path] ?? budgets.goldenKilobytes * 1000;
    if (bytes <= most) continue;
    problems.push(
      `${path}: ${kilobytes(bytes)} (at most ${kilobytes(most)}): width 16, 2 layers, vocabulary 64 will do`,
    );
  }
  const sizes = new Map(goldens.map(({ path, bytes }) => [path, bytes]));
  for (const path of Object.keys(budgets.largerGoldens)) {
    if ((sizes.get(path) ?? 0) > budgets.goldenKilobytes * 1000) continue;
    problems.push(`scripts/budgets.json: ${path} is no larger golden any more; take it out of largerGoldens`);
  }
  const total = sumOf(goldens);
  if (total > budgets.goldensMegabytes * 1e6) {
    problems.push(`goldens: ${(total / 1e6).toFixed(1)} MB (at most ${budgets.goldensMegabytes} MB)`);
  }
  for (const study of new Set(files.flatMap(({ path }) => studyOf(path) ?? []))) {
    const bytes = sumOf(files.filter(({ path }) => studyOf(path) === study));
    if (bytes <= budgets.studyKilobytes * 1000) continue;
    const most = kilobytes(budgets.studyKilobytes * 1000);
    problems.push(`examples/${study}/results: ${kilobytes(bytes)} (at most ${most})`);
  }
  return problems;
}

const sumOf = (files: readonly SizedFile[]) => files.reduce((sum, { bytes }) => sum + bytes, 0);
const kilobytes = (bytes: number) => `${Math.ceil(bytes / 1000)} kB`;
