import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { tool } from '../setup.mjs';
import { type Manifest, readJson, root } from '../workspace.js';
import {
  entrySource,
  exportedNames,
  modulesOfNames,
  type NamedImport,
  showImports,
  specifierBetween,
  splitImports,
  withoutPresent,
} from './imports.js';
import type { Kind } from './kinds.js';
import { camel, LayOutError, named, snake } from './names.js';
import type { Change, LaidOut } from './write-changes.js';

/** The text of a template. */
export const template = (kind: string, file: string): string =>
  readFileSync(join(root, 'scripts', 'new', 'templates', kind, file), 'utf8');

/** A method in a checkout of this repository: its file, an export, its test in the kind's table, a golden's script, a changeset. */
export function layOutInside(kind: string, of: Kind, name: string, repository: string, row?: string): LaidOut {
  const folder = join(repository, 'packages', of.package);
  if (!existsSync(join(folder, 'package.json'))) {
    throw new LayOutError(
      'BAD_TARGET',
      `${repository} is no checkout of this repository: it has no packages/${of.package}.`,
    );
  }
  const file = join(folder, named(of.folder, name), `${name}.ts`);
  const entry = `@posttrain/${of.package}${of.entry ?? ''}`;
  const index = of.index ? join(folder, of.index) : entrySource(repository, entry)!;
  const test = join(repository, of.test);
  const golden = of.golden && `goldens/${of.golden}/${snake(name)}.py`;
  const method = named(template(kind, 'method.ts'), name);
  refuseNames(of.package, modulesOfNames(index), exportedNames(method));

  const made: Change[] = [
    { path: file, text: ownImportsRelative(repository, of.package, file, method) },
    changed(index, (text) => `${text}${exportLine(index, file, method)}`),
    changed(test, (text) => withCheck(repository, entry, test, text, checkOf(kind, name, golden))),
    { path: join(repository, '.changeset', `${name}.md`), text: changeset(repository, of.package, name) },
  ];
  if (golden) made.push({ path: join(repository, golden), text: named(goldenStub(), name) });
  if (row !== undefined) made.push(coverageRow(repository, row, of, name));
  for (const { path, before } of made) {
    if (before !== undefined || !existsSync(path)) continue;
    throw new LayOutError('FILE_EXISTS', `${relative(repository, path)} exists; choose another name or remove it.`);
  }
  const show = (path: string) => relative(repository, path).replaceAll('\\', '/');
  const next = [
    `write the method in ${show(file)}: its formula, arXiv id, options`,
    `write its cases in ${of.test} (describe "${camel(name)}"): the kit is there, and one check that is not of the formula`,
    ...(golden ? [`write ${golden}, call it in make.py beside it, and read its numbers where the test says todo`] : []),
    ...(of.next ? [of.next] : []),
    `npx vitest run ${of.test} -t ${camel(name)}`,
    `npm run api${row === undefined ? '' : ' && npm run coverage'} && npm run typecheck && npm run lint && npm run check:structure`,
    ...(row === undefined
      ? [
          `where it is a row of docs/coverage.json: "status": "partial", "export": "${camel(name)}", "test": "${of.test}"`,
        ]
      : []),
  ];
  const changes = made.map(
    (change): Change =>
      change.path.endsWith('.ts') ? { ...change, text: formatted(show(change.path), change.text) } : change,
  );
  return { changes, next };
}

/** The test of a template with the place of its golden. */
export function checkOf(kind: string, name: string, golden: string | undefined): string {
  const check = template(kind, 'check.ts');
  return named(golden ? check.replaceAll('goldens/my_method.py', golden) : check, name);
}

export const goldenStub = (): string => template('', 'golden.py');

/** @throws LayOutError for what the package exports already */
function refuseNames(of: string, present: ReadonlyMap<string, string>, names: readonly string[]): void {
  const taken = names.map((name) => name.replace(/^type /, '')).find((name) => present.has(name));
  if (taken === undefined) return;
  throw new LayOutError(
    'FILE_EXISTS',
    `@posttrain/${of} exports ${taken} already (${basename(present.get(taken)!)}); choose another name.`,
  );
}

function changed(path: string, change: (text: string) => string): Change {
  const before = readFileSync(path, 'utf8');
  return { path, text: change(before), before };
}

/** What a method takes from its own package comes from the files that declare it. */
function ownImportsRelative(repository: string, of: string, file: string, text: string): string {
  const { imports, body } = splitImports(text);
  const own = new RegExp(`^@posttrain/${of}(/|$)`);
  const rewritten = imports.flatMap(({ names, from }): NamedImport[] => {
    if (!own.test(from)) return [{ names, from }];
    const modules = modulesOfNames(entrySource(repository, from)!);
    return names.map((name) => {
      const module = modules.get(name.replace(/^type /, ''));
      if (!module) throw new LayOutError('BAD_TARGET', `${from} of ${repository} does not export ${name}.`);
      return { names: [name], from: specifierBetween(file, module) };
    });
  });
  return `${showImports(rewritten)}\n${body.trimStart()}`;
}

const exportLine = (index: string, file: string, method: string): string =>
  `export { ${exportedNames(method).join(', ')} } from '${specifierBetween(index, file)}';\n`;

/** The table test with the method's cases at its end. */
function withCheck(repository: string, entry: string, test: string, table: string, check: string): string {
  const { imports, body } = splitImports(check);
  const testPackage = `@posttrain/${basename(dirname(dirname(test)))}`;
  const place = (from: string): string => {
    // What the test's own package exports comes from its sources, the method among it.
    const specifier = from === './method.js' ? entry : from;
    const isOwn = specifier === testPackage || specifier.startsWith(`${testPackage}/`);
    return isOwn ? specifierBetween(test, entrySource(repository, specifier)!) : specifier;
  };
  const placed = imports.map(({ names, from }) => ({ names, from: place(from) }));
  const more = withoutPresent(placed, splitImports(table).imports);
  return `${showImports(more)}${table}\n${body.trimStart()}`;
}

function changeset(repository: string, of: string, name: string): string {
  const { name: specifier } = readJson<Manifest>(join(repository, 'packages', of, 'package.json'));
  return `---\n"${specifier}": patch\n---\n\n\`${camel(name)}\`: say here in a sentence what it is and which paper it is of.\n`;
}

/** The method's row, as what is there now; the rows have a line each. */
function coverageRow(repository: string, id: string, of: Kind, name: string): Change {
  return changed(join(repository, 'docs', 'coverage.json'), (text) => {
    const line = text.split('\n').find((one) => one.includes(`"id": ${JSON.stringify(id)},`));
    if (!line) throw new LayOutError('BAD_ROW', `docs/coverage.json has no row "${id}".`);
    const row = JSON.parse(line.trim().replace(/,$/, '')) as Record<string, string>;
    if (row.export)
      throw new LayOutError('BAD_ROW', `row ${id} of docs/coverage.json has ${row.export} already; edit it by hand.`);
    const note = 'laid out; without numbers of the reference implementation';
    const { note: _, ...rest } = row;
    const now = { ...rest, package: of.package, status: 'partial', export: camel(name), test: of.test, note };
    const shown = Object.entries(now).map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`);
    return text.replace(line, () => `    { ${shown.join(', ')} }${line.trimEnd().endsWith(',') ? ',' : ''}`);
  });
}

/** As Biome has it: imports in order, one for each module. */
function formatted(path: string, text: string): string {
  const [command = '', ...args] = [...tool('@biomejs/biome', 'biome'), 'check', '--write', `--stdin-file-path=${path}`];
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, input: text, encoding: 'utf8' });
  if (status !== 0 || stdout === '') throw new LayOutError('BAD_TARGET', `Biome refuses ${path}:\n${stderr}`);
  return stdout;
}
