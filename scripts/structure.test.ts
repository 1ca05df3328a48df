import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { missingAddresses, publicationFields, readPublication } from './publication.mjs';
import {
  checkChangesets,
  checkDependencies,
  checkImportCircles,
  checkPackage,
  findForbiddenText,
} from './structure.js';
import { listPackages, type Manifest, root } from './workspace.js';

const manifest: Manifest = {
  name: '@posttrain/sample',
  version: '0.0.0',
  description: 'A sample.',
  type: 'module',
  license: 'Apache-2.0',
  sideEffects: false,
  engines: { node: '>=20.19.0' },
  files: ['dist'],
  keywords: ['llm', 'sample', 'test'],
  scripts: {
    build: 'tsup',
    prepack: 'node ../../scripts/prepack.mjs',
    prepublishOnly: 'node ../../scripts/prepublish.mjs',
  },
  exports: { '.': './src/index.ts', './package.json': './package.json' },
  publishConfig: {
    exports: {
      '.': { types: './dist/index.d.ts', import: './dist/index.js', default: './dist/index.js' },
      './package.json': './package.json',
    },
  },
};

let workspace: string;
beforeEach(() => {
  workspace = mkdtempSync(join(tmpdir(), 'structure-'));
  write('README.md', '# sample');
  write('tsup.config.ts', '');
  write('tsconfig.json', '{}');
  write('src/index.ts', 'export const one = 1;\n');
  write('test/index.test.ts', '');
});
afterEach(() => rmSync(workspace, { recursive: true, force: true }));

function write(file: string, text: string): void {
  const path = join(workspace, 'packages', 'sample', file);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
}

function check(changes: Partial<Manifest> = {}) {
  write('package.json', JSON.stringify({ ...manifest, ...changes }));
  return checkPackage(workspace, listPackages(workspace)[0]!);
}

describe('an entry with a variant for browsers', () => {
  const built = { types: './dist/index.d.ts', import: './dist/index.js', default: './dist/index.js' };
  const split = (published: Readonly<Record<string, string>>, sideEffects: Manifest['sideEffects']) =>
    check({
      sideEffects: sideEffects!,
      exports: {
        '.': { browser: './src/browser.ts', default: './src/index.ts' },
        './package.json': './package.json',
      },
      publishConfig: { exports: { '.': published, './package.json': './package.json' } },
    }).problems;
  const effects = ['./src/index.ts', './dist/index.js'];

  it('is accepted with its file, its build and its side effects', () => {
    write('src/browser.ts', 'export const one = 1;\n');
    const { types, ...rest } = built;
    expect(split({ types, browser: './dist/browser.js', ...rest }, effects)).toEqual([]);
    expect(split({ types, browser: './dist/browser.js', ...rest }, false).join()).toContain('sideEffects');
    expect(split(built, effects).join()).toContain('./dist/browser.js');
  });

  it('is refused without its file', () => {
    expect(split({ ...built, browser: './dist/browser.js' }, effects).join()).toContain('existing file');
  });
});

describe('checkImportCircles', () => {
  const circles = (files: Readonly<Record<string, string>>) => {
    for (const [file, text] of Object.entries(files)) write(`src/${file}`, text);
    write('package.json', JSON.stringify(manifest));
    return checkImportCircles(workspace, listPackages(workspace)[0]!);
  };

  it.each<[string, Readonly<Record<string, string>>, string]>([
    [
      'two files that load one another',
      { 'a.ts': "import { b } from './b.js';\n", 'b.ts': "export { a } from './a.js';\n" },
      'packages/sample/src: files import one another at run time: a.ts, b.ts',
    ],
    [
      'a circle through a name that is no type, over lines',
      { 'a.ts': "import {\n  type B,\n  b,\n} from './b.js';\n", 'b.ts': "import './a.js';\n" },
      'packages/sample/src: files import one another at run time: a.ts, b.ts',
    ],
    [
      'a file that loads itself',
      { 'a.ts': "import * as a from './a.js';\n" },
      'packages/sample/src: files import one another at run time: a.ts',
    ],
    [
      'types of two folders that need one another',
      { 'x/a.ts': "import type { B } from '../y/b.js';\n", 'y/b.ts': "import { type A } from '../x/a.js';\n" },
      'packages/sample/src: types refer to one another between folders: x/a.ts, y/b.ts',
    ],
    [
      'rooms that import one another by different files',
      {
        'x/a.ts': "import '../y/b.js';\n",
        'x/c.ts': '',
        'y/b.ts': '',
        'y/d.ts': "import '../x/c.js';\n",
      },
      'packages/sample/src: rooms import one another: x, y',
    ],
    [
      'a circle of six files',
      Object.fromEntries([0, 1, 2, 3, 4, 5].map((i) => [`f${i}.ts`, `import './f${(i + 1) % 6}.js';\n`])),
      'packages/sample/src: files import one another at run time: f0.ts, f1.ts, f2.ts, f3.ts, f4.ts and 1 more',
    ],
  ])('refuses %s', (_, files, problem) => {
    expect(circles(files)).toEqual([problem]);
  });

  it('accepts types of one folder that need one another, what is loaded later, tests and comments', () => {
    expect(
      circles({
        'x/a.ts': "import type { B } from './b.js';\n",
        'x/b.ts': "import { type A, type C } from './a.js';\n",
        'y/lazy.ts': "export const load = () => import('./user.js');\n",
        'y/user.ts': "import { load } from './lazy.js';\n",
        'z/a.ts': "/* import { x } from './a.test.js'; */\n// import { x } from './a.js';\n",
        'z/a.test.ts': "import { a } from './a.js';\n",
      }),
    ).toEqual([]);
  });
});

describe('checkPackage', () => {
  it('accepts a complete package', () => {
    expect(check()).toEqual({ problems: [], warnings: [] });
  });

  it.each<[string, Partial<Manifest>]>([
    ['type', { type: 'commonjs' }],
    ['license', { license: 'MIT' }],
    ['description', { description: '' }],
    ['sideEffects', { sideEffects: true }],
    ['engines', { engines: {} }],
    ['engines', { engines: { node: '>=20' } }],
    ['dist', { files: ['src'] }],
    ['keywords', { keywords: ['llm'] }],
    ['prepublishOnly', { scripts: { build: 'tsup', prepack: 'node ../../scripts/prepack.mjs' } }],
    ['addresses', { repository: { type: 'git' } }],
    ['prepack', { scripts: { build: 'tsup' } }],
    ['publishConfig', { publishConfig: { exports: { ...manifest.publishConfig?.exports, '.': './dist/index.js' } } }],
    ['different entry points', { publishConfig: {} }],
    ['under ./src', { exports: { ...manifest.exports, '.': './dist/index.js' } }],
    ['named differently', { name: '@posttrain/other' }],
  ])('names a wrong %s', (word, changes) => {
    expect(check(changes).problems.join('\n')).toContain(word);
  });

  it.each(['README.md', 'tsup.config.ts', 'tsconfig.json', 'src/index.ts'])('misses %s', (file) => {
    rmSync(join(workspace, 'packages', 'sample', file));
    expect(check().problems.join('\n')).toContain(file);
  });

  it('asks a package that exports something for a test, and reports one that exports nothing', () => {
    rmSync(join(workspace, 'packages', 'sample', 'test'), { recursive: true });
    expect(check().problems.join()).toContain('no test');
    write('src/index.ts', '/** Nothing; export const x = 1. */\nexport {};\n');
    expect(check()).toEqual({ problems: [], warnings: ['@posttrain/sample: exports nothing yet'] });
  });

  it('warns over 400 lines and fails over 600', () => {
    write('src/long.ts', '//\n'.repeat(401));
    expect(check()).toMatchObject({ problems: [], warnings: [expect.stringContaining('401 lines')] });
    write('src/long.ts', '//\n'.repeat(601));
    expect(check().problems.join()).toContain('packages/sample/src/long.ts: 601 lines');
  });
});

describe('the addresses of what is published', () => {
  const addresses = {
    repository: 'https://example.org/a/b',
    homepage: 'https://example.org',
    bugs: 'https://example.org/a/b/issues',
  };

  it('are in every package.json, the repository with the folder', () => {
    expect(publicationFields(addresses, 'packages/lm')).toEqual({
      repository: { type: 'git', url: 'git+https://example.org/a/b.git', directory: 'packages/lm' },
      homepage: 'https://example.org',
      bugs: { url: 'https://example.org/a/b/issues' },
    });
  });

  it.each([
    [{ ...addresses, repository: '' }, ['repository']],
    [{ ...addresses, homepage: 'example.org' }, ['homepage']],
    [{ repository: '', homepage: '', bugs: '' }, ['repository', 'homepage', 'bugs']],
  ])('are missing from %j', (publication, missing) => {
    expect(missingAddresses(publication)).toEqual(missing);
    expect(publicationFields(publication, 'packages/lm')).toEqual({});
  });

  it('are asked for before anything is published', () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/prepublish.mjs')], {
      encoding: 'utf8',
    });
    const missing = missingAddresses(readPublication(root));
    expect(status).toBe(missing.length > 0 ? 1 : 0);
    for (const field of missing) expect(stderr).toContain(field);
  });
});

describe('checkDependencies', () => {
  const entry = (name: string, changes: Partial<Manifest>) => ({
    folder: '',
    manifest: { name, version: '0', ...changes },
  });

  it('finds a tensor engine behind another package', () => {
    const packages = [
      entry('@posttrain/data', { dependencies: { '@posttrain/lm': '1' } }),
      entry('@posttrain/lm', { peerDependencies: { '@posttrain/core-tensor': '1' } }),
    ];
    expect(checkDependencies(packages)).toEqual([
      '@posttrain/data must not bring a tensor engine: @posttrain/data -> @posttrain/lm -> @posttrain/core-tensor',
    ]);
  });

  it('finds an engine library without core-tensor', () => {
    const packages = [entry('@posttrain/tts', { optionalDependencies: { 'onnxruntime-node': '1' } })];
    expect(checkDependencies(packages)).toHaveLength(1);
  });

  it('wants the engine as a peer', () => {
    const packages = [entry('@posttrain/rl', { dependencies: { '@posttrain/core-tensor': '1' } })];
    expect(checkDependencies(packages)).toHaveLength(2);
  });

  it('finds an arrow that the house does not have', () => {
    const peers = (...names: string[]) => Object.fromEntries(names.map((name) => [`@posttrain/${name}`, '1']));
    const packages = [entry('@posttrain/lm', { peerDependencies: peers('core-tensor', 'peft') })];
    expect(checkDependencies(packages)).toEqual(['@posttrain/lm may depend on interfaces, core-tensor, not on peft']);
    expect(
      checkDependencies([entry('@posttrain/serve', { peerDependencies: peers('core-tensor', 'lm', 'peft') })]),
    ).toEqual([]);
  });
});

describe('checkChangesets', () => {
  it.each([
    ['patch', '0.0.3', 0],
    ['minor', '0.0.3', 1],
    ['major', '0.2.0', 1],
    ['minor', '1.0.0', 0],
  ])('%s at %s: %i problems', (bump, version, problems) => {
    mkdirSync(join(workspace, '.changeset'));
    const text = `---\n"@posttrain/sample": ${bump}\n---\n\nA minor: note.\n`;
    writeFileSync(join(workspace, '.changeset', 'brave-cat.md'), text);
    const packages = [{ folder: '', manifest: { ...manifest, version } }];
    expect(checkChangesets(workspace, packages)).toHaveLength(problems);
  });
});

describe('findForbiddenText', () => {
  const slash = '/';
  it.each([
    ['see ', `${slash}work/main/file`],
    ['"', `${slash}home/someone/models`],
    ['', `${slash}root/.cache`],
    ['from ', `https:${slash}/my-registry.example/npm`],
    ['', ['registry', 'npmjs', 'org'].join('.')],
  ])('finds %s%s', (before, text) => {
    expect(findForbiddenText(`fine\n${before}${text}`)).toEqual([expect.stringMatching(/^2: /)]);
  });

  it.each(['https://example.org/work/paper', 'src/root/index.ts', '/usr/bin/chromium', 'registry.get(name)'])(
    'leaves %s alone',
    (text) => expect(findForbiddenText(text)).toEqual([]),
  );
});
