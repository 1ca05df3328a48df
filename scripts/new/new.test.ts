import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tool } from '../setup.mjs';
import { type Manifest, readJson, root } from '../workspace.js';
import { exportedNames } from './imports.js';
import { KINDS, type Kind } from './kinds.js';
import { layOut } from './lay-out.js';
import { type Change, writeChanges } from './write-changes.js';

let folder: string;
/** What laying out reads and changes of a checkout, for the kinds of `@posttrain/rl`. */
let checkout: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'posttrain-new-'));
  checkout = join(folder, 'checkout');
  for (const path of [
    'packages/rl/package.json',
    'packages/rl/src',
    'packages/rl/test/kits.test.ts',
    'docs/coverage.json',
  ]) {
    cpSync(join(root, path), join(checkout, path), { recursive: true });
  }
  // A row that is still to be made, whichever of the others are.
  const coverage = join(checkout, 'docs/coverage.json');
  const row = '{ "id": "B99", "name": "A method", "package": "rl", "status": "not implemented" },';
  const rows = readFileSync(coverage, 'utf8').replace(/(?=^ {4}\{ "id": "B1",)/m, `    ${row}\n`);
  writeFileSync(coverage, rows);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Every file below a folder with its text. */
const filesOf = (of: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(of, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path, readFileSync(path, 'utf8')]),
  );

describe('kinds', () => {
  it('have a template each, and every template is of a kind', () => {
    const folders = readdirSync(join(import.meta.dirname, 'templates'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
      .map(({ name }) => name);
    expect(folders.sort()).toEqual(Object.keys(KINDS).sort());
  });

  it.each(Object.entries<Kind>(KINDS))(
    '%s says where it goes, what it is of and what to compare it with',
    (kind, of) => {
      const text = (file: string) => readFileSync(join(import.meta.dirname, 'templates', kind, file), 'utf8');
      expect(existsSync(join(root, of.test))).toBe(true);
      expect(exportedNames(text('method.ts')).map((name) => name.replace(/^type /, ''))).toContain('myMethod');
      expect(text('method.ts')).toContain('arXiv 0000.00000');
      expect(text('check.ts')).toMatch(/\btest[A-Z]\w+\((it, |\{).*\n[\s\S]*\bit\('/);
      expect(text('check.ts').includes('it.todo(')).toBe(of.golden !== undefined);
      if (of.golden) expect(existsSync(join(root, 'goldens', of.golden, 'make.py'))).toBe(true);
      expect(of.usage).toContain('myMethod');
    },
  );
});

describe('a method in the repository', () => {
  it('is a file, an export, cases in the table of its kind, a script, a row and a changeset', () => {
    const { changes, next } = layOut('advantage', 'median-baseline', { repository: checkout, row: 'B99' });
    const of = (path: string) => changes.find((one) => one.path === join(checkout, path))!;
    const method = of('packages/rl/src/advantage/median-baseline.ts');
    expect(method.before).toBeUndefined();
    expect(method.text).toContain("import type { Advantage } from './advantage.js';");
    expect(method.text).toContain("import { groupsOf } from '../rollout.js';");
    expect(method.text).toContain('export function medianBaseline(given: MedianBaselineOptions = {}): Advantage {');
    const index = of('packages/rl/src/index.ts');
    const line = "export { type MedianBaselineOptions, medianBaseline } from './advantage/median-baseline.js';\n";
    expect(index.text.replace(line, '')).toBe(index.before);
    expect(index.text.indexOf(line)).toBeGreaterThan(index.text.indexOf('./advantage/leave-one-out.js'));
    expect(index.text.indexOf(line)).toBeLessThan(index.text.indexOf('./advantage/remax.js'));
    const table = of('packages/rl/test/kits.test.ts');
    expect(table.text.match(/^import .* from 'vitest';$/gm)).toHaveLength(1);
    expect(table.text).toContain('  testAdvantage(it, () => medianBaseline(), ');
    expect(table.text).toContain("it.todo('is what the reference implementation has: goldens/rl/median_baseline.py');");
    expect(of('goldens/rl/median_baseline.py').text).toContain('def median_baseline() -> dict:');
    expect(of('.changeset/median-baseline.md').text).toMatch(
      /^---\n"@posttrain\/rl": patch\n---\n\n`medianBaseline`: /,
    );
    const rows = JSON.parse(of('docs/coverage.json').text) as { methods: { id: string }[] };
    expect(rows.methods.find(({ id }) => id === 'B99')).toMatchObject({
      ...{ package: 'rl', status: 'partial', export: 'medianBaseline', test: 'packages/rl/test/kits.test.ts' },
    });
    expect(changes).toHaveLength(6);
    expect(next.join('\n')).toContain('npm run coverage');
  });

  it.each<[string, string, string, string, RegExp]>([
    [
      'a kind that is none',
      'advantages',
      'x',
      'UNKNOWN_KIND',
      /no kind "advantages"\. Did you mean "advantage"\? The kinds/,
    ],
    ['a kind of everybody’s', 'toString', 'x', 'UNKNOWN_KIND', /no kind "toString"/],
    ['a name in capitals', 'advantage', 'MyBaseline', 'BAD_NAME', /as "my-baseline"/],
    ['a name that leaves the folder', 'advantage', '../x', 'BAD_NAME', /as "x"/],
    ['a name that begins with a digit', 'advantage', '2-x', 'BAD_NAME', /as "x"/],
    ['a word of the language', 'advantage', 'delete', 'BAD_NAME', /word of the language/],
    ['a name that modules do not give', 'advantage', 'arguments', 'BAD_NAME', /word of the language/],
    ['the index', 'advantage', 'index', 'BAD_NAME', /exports all others/],
    ['what is exported already', 'advantage', 'gae', 'FILE_EXISTS', /exports GaeOptions already \(gae\.ts\)/],
    ['a file that exists', 'advantage', 'advantage', 'FILE_EXISTS', /advantage[\\/]advantage\.ts exists/],
    ['a package that is not there', 'loss', 'x', 'BAD_TARGET', /no packages\/training/],
  ])('refuses %s', (_, kind, name, code, message) => {
    const before = filesOf(checkout);
    expect(() => layOut(kind, name, { repository: checkout })).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
    expect(filesOf(checkout)).toEqual(before);
  });

  it.each([
    ['Z99', /no row "Z99"/],
    ['B3', /row B3 .* has policyGradient already/],
  ])('refuses the row %s', (row, message) => {
    expect(() => layOut('advantage', 'x', { repository: checkout, row })).toThrow(message);
  });
});

describe('a package of its own', () => {
  it('asks for what it imports, in the versions of today', () => {
    const target = join(folder, 'my-loss');
    const { changes, next } = layOut('preference-loss', 'soft-margin', { package: target, versions: root });
    const of = (path: string) => changes.find((one) => one.path === join(target, path))!.text;
    const version = `^${readJson<Manifest>(join(root, 'packages/rl/package.json')).version}`;
    const manifest = JSON.parse(of('package.json')) as Manifest & { devDependencies: Record<string, string> };
    const uses = ['@posttrain/core-tensor', '@posttrain/interfaces', '@posttrain/rl'];
    expect(manifest).toMatchObject({ name: 'my-loss', type: 'module', engines: { node: '>=20.19.0' } });
    expect(manifest.peerDependencies).toEqual(Object.fromEntries(uses.map((name) => [name, version])));
    expect(Object.keys(manifest.devDependencies)).toEqual(['@types/node', 'typescript', 'vitest']);
    expect(of('src/index.ts')).toBe(
      "export { type SoftMarginOptions, softMargin } from './soft-margin.js';\n".replace('{ type', '{ type'),
    );
    expect(of('src/soft-margin.ts')).toContain("import type { PreferenceLoss } from '@posttrain/rl';");
    expect(of('test/soft-margin.test.ts')).toContain("import { softMargin } from '../src/index.js';");
    expect(of('README.md')).toContain("import { softMargin } from 'my-loss';");
    expect(of('goldens/soft_margin.py')).toContain('def soft_margin()');
    for (const { text } of changes) expect(text).not.toMatch(/my.?method/i);
    expect(next[0]).toMatch(/npm install && npm test$/);
  });

  it('refuses a folder with something in it, and one that npm has no name for', () => {
    mkdirSync(join(folder, 'full'), { recursive: true });
    writeFileSync(join(folder, 'full', 'thesis.txt'), '');
    const into = (name: string) => layOut('grader', 'x', { package: join(folder, name), versions: root });
    expect(() => into('full')).toThrow(/not empty/);
    expect(() => into('My Method')).toThrow(/cannot be the name of a package/);
    for (const file of ['full/thesis.txt', 'full/thesis.txt/below/it']) {
      expect(() => into(file)).toThrow(
        expect.objectContaining({ code: 'BAD_TARGET', message: expect.stringMatching(/thesis\.txt is a file/) }),
      );
    }
  });
});

describe('writing', () => {
  const path = (name: string) => join(folder, 'written', name);
  const reset = () => {
    rmSync(path(''), { recursive: true, force: true });
    mkdirSync(path(''));
    writeFileSync(path('index.ts'), 'old\n');
  };
  const changes = (...last: Change[]): Change[] => [
    { path: path('new/a.ts'), text: 'a\n' },
    { path: path('index.ts'), text: 'new\n', before: 'old\n' },
    ...last,
  ];

  it('writes everything', () => {
    reset();
    writeChanges(changes());
    expect(filesOf(path(''))).toEqual({ [path('new/a.ts')]: 'a\n', [path('index.ts')]: 'new\n' });
  });

  it.each<[string, () => Change]>([
    ['a file that exists', () => ({ path: path('index.ts'), text: 'b\n' })],
    ['a file that is another by now', () => ({ path: path('index.ts'), text: 'b\n', before: 'older\n' })],
    ['a folder that cannot be made', () => ({ path: path('index.ts/b.ts'), text: 'b\n' })],
    [
      'a place that something takes while it writes',
      () => ({
        path: path('taken'),
        before: undefined as never,
        get text() {
          mkdirSync(path('taken'));
          writeFileSync(path('taken/by'), 'another\n');
          return 'b\n';
        },
      }),
    ],
  ])('leaves nothing behind where one part fails: %s', (_, last) => {
    reset();
    expect(() => writeChanges(changes(last()))).toThrow();
    rmSync(path('taken'), { recursive: true, force: true });
    expect(filesOf(path(''))).toEqual({ [path('index.ts')]: 'old\n' });
    expect(existsSync(dirname(path('new/a.ts')))).toBe(false);
  });
});

describe('npm run new', () => {
  const run = (...args: string[]) => {
    const [command = '', ...rest] = [...tool('tsx'), join(import.meta.dirname, 'cli.ts'), ...args];
    return spawnSync(command, rest, { cwd: root, encoding: 'utf8', env: { ...process.env, INIT_CWD: folder } });
  };

  it('lists the kinds, and says what is wrong in a line', () => {
    const { stdout, status } = run('--help');
    for (const [kind, { summary }] of Object.entries(KINDS))
      expect(stdout).toMatch(new RegExp(`${kind} +${summary.slice(0, 20)}`));
    expect(status).toBe(0);
    const wrong = run('advantag', 'x');
    expect(wrong.stderr).toMatch(/^npm run new: there is no kind "advantag". Did you mean "advantage"\?.*\n$/);
    expect(wrong.status).toBe(1);
    expect(run('grader', 'x', '--pakage', 'y')).toMatchObject({ status: 1, stdout: '' });
  });

  it('writes a package where it is asked to, and with --dry-run nothing', () => {
    expect(run('grader', 'words', '--package', 'own', '--dry-run').stdout).toContain('would be new: ');
    expect(existsSync(join(folder, 'own'))).toBe(false);
    expect(run('grader', 'words', '--package', 'own')).toMatchObject({ status: 0, stderr: '' });
    expect(readdirSync(join(folder, 'own')).sort()).toContain('package.json');
  });
});
