import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type Manifest, readJson } from '../workspace.js';
import { exportedNames, splitImports } from './imports.js';
import { checkOf, goldenStub, template } from './inside.js';
import type { Kind } from './kinds.js';
import { camel, LayOutError, named, snake } from './names.js';
import type { LaidOut } from './write-changes.js';

/** A method as a package of its own: its file, a test that runs the kit of its kind, and what publishing takes. */
export function layOutPackage(kind: string, of: Kind, name: string, target: string, versions: string): LaidOut {
  const folder = resolve(target);
  const packageName = basename(folder);
  const inTheWay = fileAbove(folder);
  if (inTheWay !== undefined) {
    throw new LayOutError('BAD_TARGET', `${inTheWay} is a file; give a folder that is new or empty, and in folders.`);
  }
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw new LayOutError('FILE_EXISTS', `${folder} is there and not empty; give the folder of a new package.`);
  }
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(packageName)) {
    throw new LayOutError(
      'BAD_TARGET',
      `${folder}: "${packageName}" cannot be the name of a package; npm takes small letters, digits and "-".`,
    );
  }
  const golden = of.golden && `goldens/${snake(name)}.py`;
  const method = named(template(kind, 'method.ts'), name);
  const check = checkOf(kind, name, golden).replace(`'./method.js'`, `'../src/index.js'`);
  const uses = packagesOf(method);
  const testUses = packagesOf(check).filter((one) => !uses.includes(one));
  const exported = exportedNames(method);
  const files: Readonly<Record<string, string>> = {
    'package.json': json(manifestOf(packageName, of, versions, uses, testUses)),
    'tsconfig.json': json(TYPES),
    'tsconfig.build.json': json(BUILD),
    'README.md': readme(packageName, of, name),
    '.gitignore': 'node_modules\ndist\n',
    [`src/${name}.ts`]: method,
    'src/index.ts': `export { ${exported.join(', ')} } from './${name}.js';\n`,
    [`test/${name}.test.ts`]: check,
    ...(golden && { [golden]: named(goldenStub(), name) }),
  };
  const changes = Object.entries(files).map(([path, text]) => ({ path: join(folder, path), text }));
  const next = [
    `cd ${target} && npm install && npm test`,
    `write the method in src/${name}.ts: its formula, arXiv id, options`,
    `write its cases in test/${name}.test.ts: the kit is there, and one check that is not of the formula`,
    ...(golden ? [`write ${golden}, and read its numbers where the test says todo`] : []),
    'choose a license: put its text into LICENSE and its SPDX name into package.json',
  ];
  return { changes, next };
}

/** The path itself, or what it is in, where that is there and no folder. */
function fileAbove(path: string): string | undefined {
  if (existsSync(path)) return statSync(path).isDirectory() ? undefined : path;
  return fileAbove(dirname(path));
}

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** The packages of this repository that a text imports, sorted. */
const packagesOf = (text: string): string[] => {
  const names = splitImports(text).imports.flatMap(({ from }) => /^@posttrain\/[\w-]+/.exec(from) ?? []);
  return [...new Set(names)].sort();
};

const TYPES = {
  compilerOptions: {
    target: 'ES2022',
    lib: ['ES2023'],
    module: 'NodeNext',
    moduleResolution: 'NodeNext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
    skipLibCheck: true,
    types: ['node'],
    noEmit: true,
  },
  include: ['src', 'test'],
};
const BUILD = {
  extends: './tsconfig.json',
  compilerOptions: { noEmit: false, declaration: true, rootDir: 'src', outDir: 'dist' },
  include: ['src'],
};

function manifestOf(name: string, of: Kind, versions: string, uses: readonly string[], testUses: readonly string[]) {
  const { engines, devDependencies } = readJson<Manifest & { devDependencies: Readonly<Record<string, string>> }>(
    join(versions, 'package.json'),
  );
  const rangeOf = (specifier: string) => {
    const folder = join(versions, 'packages', specifier.replace('@posttrain/', ''));
    return [specifier, `^${readJson<Manifest>(join(folder, 'package.json')).version}`] as const;
  };
  const tools = ['@types/node', 'typescript', 'vitest'].map((tool) => [tool, `^${devDependencies[tool]}`] as const);
  const built = { types: './dist/index.d.ts', default: './dist/index.js' };
  return {
    ...{ name, version: '0.0.0', description: `${of.summary[0]!.toUpperCase()}${of.summary.slice(1)}.` },
    ...{ type: 'module', license: 'UNLICENSED', sideEffects: false, engines, files: ['dist'] },
    exports: { '.': built, './package.json': './package.json' },
    scripts: {
      build: 'tsc -p tsconfig.build.json',
      typecheck: 'tsc',
      test: 'vitest run',
      prepack: 'npm run build',
    },
    // One copy for the whole app: tensors and errors of one are those of all.
    peerDependencies: Object.fromEntries(uses.map(rangeOf)),
    devDependencies: Object.fromEntries([...testUses.map(rangeOf), ...tools]),
  };
}

const readme = (packageName: string, of: Kind, name: string): string => `# ${packageName}

\`${camel(name)}\`, for [@posttrain/${of.package}](https://www.npmjs.com/package/@posttrain/${of.package}): ${of.summary}.

\`\`\`ts
import { ${camel(name)} } from '${packageName}';

${named(of.usage, name)};
\`\`\`

Say here which paper it is of (arXiv 0000.00000), what it computes, and what it was compared with.

\`npm test\` runs the checks that every method of its kind passes, and those of its own.

## License

None yet: put the text of one into \`LICENSE\`, and its SPDX name into \`package.json\`.
`;
