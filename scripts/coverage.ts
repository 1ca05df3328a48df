import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { codeEntries, type Manifest, readJson, sourceOf } from './workspace.js';

/** One method of the survey map and where this repository stands with it. */
export interface CoverageRow {
  /** The survey map's id: a section letter and a number, such as `D16`. */
  readonly id: string;
  readonly name: string;
  /** Folder name under `packages/` of the package that has it or will have it. */
  readonly package: string;
  readonly status: 'implemented' | 'partial' | 'not implemented';
  /** What an entry point of the package exports for it, dotted for members: `policyObjectives.grpo`. */
  readonly export?: string;
  /** The page, relative to the root, that a row is which is no code, in the place of an export. */
  readonly page?: string;
  /** Its test file, relative to the root. */
  readonly test?: string;
  /** What is missing (required of `partial`), or a limit worth knowing. */
  readonly note?: string;
}

export interface Coverage {
  readonly source: string;
  /** Section letter to title. */
  readonly sections: Readonly<Record<string, string>>;
  readonly methods: readonly CoverageRow[];
}

const statuses: readonly string[] = ['implemented', 'partial', 'not implemented'];
const keys: readonly string[] = ['id', 'name', 'package', 'status', 'export', 'page', 'test', 'note'];

/** Everything that is untrue or malformed in a coverage table; empty when it can be believed. */
export async function checkCoverage(workspace: string, { sections, methods }: Coverage): Promise<string[]> {
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const row of methods) {
    const add = (message: string) => problems.push(`${row.id} ${row.name}: ${message}`);
    if (!/^[A-Z][1-9]\d*$/.test(row.id) || !sections[row.id.slice(0, 1)]) add('the id is not of a known section');
    if (seen.has(row.id)) add('the id is listed twice');
    seen.add(row.id);
    const unknownKey = Object.keys(row).find((key) => !keys.includes(key));
    if (unknownKey) add(`unknown key ${unknownKey}`);
    if (!statuses.includes(row.status)) add(`status must be one of ${statuses.join(', ')}`);
    if (!existsSync(join(workspace, 'packages', row.package))) add(`there is no package ${row.package}`);
    else if (row.status === 'not implemented') {
      if (row.export || row.page || row.test) add('is not implemented, so it has no export and no test');
    } else {
      if (row.status === 'partial' && !row.note) add('a partial method says in its note what is missing');
      if (!row.test || !existsSync(join(workspace, row.test))) add(`its test ${row.test ?? '(none)'} does not exist`);
      else if (!row.test.endsWith('.test.ts')) add(`its test ${row.test} is not a *.test.ts file`);
      if (row.page && !row.export) {
        if (!existsSync(join(workspace, row.page))) add(`its page ${row.page} does not exist`);
      } else if (!row.export || !(await hasExport(workspace, row.package, row.export))) {
        add(`packages/${row.package} does not export ${row.export ?? '(none named)'}`);
      }
    }
  }
  return problems;
}

/** Whether an entry point of the package exports it. */
async function hasExport(workspace: string, packageFolder: string, path: string): Promise<boolean> {
  const folder = join(workspace, 'packages', packageFolder);
  const { exports } = readJson<Manifest>(join(folder, 'package.json'));
  for (const entry of codeEntries(exports)) {
    const module: unknown = await import(pathToFileURL(join(folder, sourceOf(exports, entry))).href);
    if (valueAt(module, path) !== undefined) return true;
  }
  return false;
}

function valueAt(module: unknown, path: string): unknown {
  let value = module;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null || !(part in value)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** `docs/coverage.md`, from the table. */
export function renderMarkdown({ source, sections, methods }: Coverage): string {
  const counts = statuses.map((status) => `${methods.filter((row) => row.status === status).length} ${status}`);
  const lines = [
    '# Coverage of the literature',
    '',
    `Every method of ${source}, and what is expected beside it in 2026, with where it is here.`,
    'Generated from `coverage.json` by `npm run coverage`; a test checks that each export and each test exists.',
    '',
    `${methods.length} methods: ${counts.join(', ')}.`,
  ];
  for (const [letter, title] of Object.entries(sections)) {
    const rows = methods.filter((row) => row.id.startsWith(letter));
    lines.push('', `## ${letter}. ${title}`, '', '| id | method | package | status | export | test |');
    lines.push('| --- | --- | --- | --- | --- | --- |', ...rows.map(renderRow));
  }
  return `${lines.join('\n')}\n`;
}

function renderRow(row: CoverageRow): string {
  const code = (text: string | undefined) => (text ? `\`${text}\`` : '');
  const status = row.note ? `${row.status}: ${row.note}` : row.status;
  const cells = [row.id, row.name, row.package, status, code(row.export ?? row.page), code(row.test)];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** `docs/coverage.json` itself, one method a line. */
export function renderJson({ source, sections, methods }: Coverage): string {
  const row = (method: CoverageRow) => {
    const fields = keys.filter((key) => key in method).map((key) => [key, method[key as keyof CoverageRow]] as const);
    return `    { ${fields.map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(', ')} }`;
  };
  const head = JSON.stringify({ source, sections }, null, 2).replace(/\n\}$/, '');
  return `${head},\n  "methods": [\n${methods.map(row).join(',\n')}\n  ]\n}\n`;
}
