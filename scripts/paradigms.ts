import { join } from 'node:path';
import type { Coverage, CoverageRow } from './coverage.js';
import { readJson } from './workspace.js';

/** How a survey divides the field, with the rows of the coverage in each class: a section (`B`), a row (`A1`) or several in a line (`E1-E5`). */
export interface Taxonomy {
  /** The row of the coverage that the survey is. */
  readonly row: string;
  readonly source: string;
  /** What a class is called. */
  readonly kind: string;
  readonly classes: readonly { readonly name: string; readonly rows: readonly string[] }[];
}

/** `docs/paradigms.json`. */
export const readTaxonomies = (workspace: string): readonly Taxonomy[] =>
  readJson<{ readonly taxonomies: readonly Taxonomy[] }>(join(workspace, 'docs', 'paradigms.json')).taxonomies;

/** The rows that an entry stands for, none where it names what is not there. */
function rowsOf(entry: string, methods: readonly CoverageRow[]): readonly CoverageRow[] {
  const [, section, first, last] = /^([A-Z])(?:(\d+)(?:-\1(\d+))?)?$/.exec(entry) ?? [];
  const numbered = methods.filter(({ id }) => id[0] === section).map((row) => [row, Number(row.id.slice(1))] as const);
  if (first === undefined) return numbered.map(([row]) => row);
  const [low, high] = [Number(first), Number(last ?? first)];
  const found = numbered.filter(([, number]) => number >= low && number <= high);
  return found.length === high - low + 1 ? found.map(([row]) => row) : [];
}

/** Rows that are in no class, and entries that name no row: empty when the page can be believed. */
export function checkParadigms({ methods }: Coverage, taxonomies: readonly Taxonomy[]): string[] {
  const entries = taxonomies.flatMap(({ classes }) => classes.flatMap(({ rows }) => rows));
  const classed = new Set(entries.flatMap((entry) => rowsOf(entry, methods)).map(({ id }) => id));
  const unknown = entries.filter((entry) => rowsOf(entry, methods).length === 0);
  return [
    ...unknown.map((entry) => `docs/paradigms.json: ${entry} names rows that are not in docs/coverage.json`),
    ...methods
      .filter(({ id }) => !classed.has(id))
      .map(({ id, name }) => `docs/paradigms.json: ${id} ${name} is in no class`),
  ];
}

/** `docs/eval/paradigms.md`: what there is of each class of both surveys. */
export function renderParadigms({ methods }: Coverage, taxonomies: readonly Taxonomy[]): string {
  const code = (text: string | undefined) => (text ? `\`${text}\`` : '');
  const lines = [
    '# Coverage by the classes of two surveys',
    '',
    'Generated from `../coverage.json` and `../paradigms.json` by `npm run coverage`: every row of the [coverage](../coverage.md) is in a class of one survey or of both.',
    'What a partial row lacks stands in the coverage.',
  ];
  for (const { row, source, kind, classes } of taxonomies) {
    const found = classes.map(({ name, rows }) => {
      const listed = new Set(rows.flatMap((entry) => rowsOf(entry, methods)));
      return { name, rows: methods.filter((one) => listed.has(one)) };
    });
    lines.push('', `## ${row}. ${source}`, '', `| ${kind} | rows | implemented | partial | not implemented |`);
    lines.push('| --- | --- | --- | --- | --- |');
    for (const { name, rows } of found) {
      const count = (status: CoverageRow['status']) => rows.filter((one) => one.status === status).length;
      const counts = [rows.length, count('implemented'), count('partial'), count('not implemented')];
      lines.push(`| ${name} | ${counts.join(' | ')} |`);
    }
    for (const { name, rows } of found) {
      lines.push('', `### ${name}`, '', '| id | method | status | export | test |', '| --- | --- | --- | --- | --- |');
      for (const one of rows) {
        const cells = [one.id, one.name, one.status, code(one.export ?? one.page), code(one.test)];
        lines.push(`| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
      }
    }
  }
  return `${lines.join('\n')}\n`;
}
