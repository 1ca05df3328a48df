import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { findCircles, readImportGraph } from './import-circles.js';
import { publicationFields, readPublication } from './publication.mjs';
import { codeEntries, listTrackedFiles, type Manifest, root, sourceOf, type WorkspacePackage } from './workspace.js';

/** What a structural check found: problems fail the run, warnings are shown. */
export interface Findings {
  readonly problems: string[];
  readonly warnings: string[];
}

/** A source file longer than this is reported. */
export const warnLines = 400;
/** A source file longer than this fails. */
export const maxLines = 600;

/** Source files that may be longer than `maxLines`, each with the reason. Paths are relative to the root. */
const longFiles: Readonly<Record<string, string>> = {};

/** Packages without the scope, by folder: what people type. */
const publishedAs: Readonly<Record<string, string>> = { cli: 'posttrain' };

const tensorEngine = '@posttrain/core-tensor';
/** Packages that must be usable without a tensor engine. */
const light = [
  '@posttrain/interfaces',
  '@posttrain/openai',
  '@posttrain/tts',
  '@posttrain/data',
  '@posttrain/eval',
  '@posttrain/sandbox',
];
/** Packages whose user must end up with exactly one tensor engine. */
const engineAsPeer = ['@posttrain/lm', '@posttrain/peft', '@posttrain/rl', '@posttrain/serve', '@posttrain/training'];
/** Packages of this repository that a package may depend on, where that is decided. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  lm: ['interfaces', 'core-tensor'],
  peft: ['interfaces', 'core-tensor', 'lm'],
  training: ['interfaces', 'core-tensor', 'lm'],
  serve: ['interfaces', 'core-tensor', 'lm', 'peft'],
};

/** The Node.js that every package asks for: what is tested. The root's package.json has it too. */
const node = '>=20.19.0';

/** The fields that a published package.json must have, and the files beside it. */
export function checkPackage(workspace: string, { folder, manifest }: WorkspacePackage): Findings {
  const problems: string[] = [];
  const warnings: string[] = [];
  const name = manifest.name;
  const require = (condition: boolean, message: string) => {
    if (!condition) problems.push(`${name}: ${message}`);
  };
  const wanted = publishedAs[basename(folder)] ?? `@posttrain/${basename(folder)}`;
  require(name === wanted, `is named differently from its folder ${basename(folder)}`);
  require(manifest.type === 'module', 'package.json needs "type": "module"');
  require(manifest.license === 'Apache-2.0', 'package.json needs "license": "Apache-2.0"');
  require((manifest.description ?? '') !== '', 'package.json needs a description');
  // An entry that sets up Node in what a browser gets without it must not be dropped by who bundles for Node.
  const effects = hasBrowserVariant(manifest, '.') ? ['./src/index.ts', './dist/index.js'] : false;
  const wantedEffects = JSON.stringify(effects);
  require(JSON.stringify(manifest.sideEffects) === wantedEffects, `package.json needs "sideEffects": ${wantedEffects}`);
  require(manifest.engines?.node === node, `package.json needs engines.node "${node}", as the root has it`);
  require(manifest.scripts?.build === 'tsup', 'package.json needs the script "build": "tsup"');
  const prepack = 'node ../../scripts/prepack.mjs';
  require(manifest.scripts?.prepack === prepack, `package.json needs the script "prepack": "${prepack}"`);
  const prepublish = 'node ../../scripts/prepublish.mjs';
  require(manifest.scripts?.prepublishOnly ===
    prepublish, `package.json needs the script "prepublishOnly": "${prepublish}"`);
  require((manifest.keywords?.length ?? 0) >= 3, 'package.json needs keywords');
  const fields = publicationFields(readPublication(root), relative(workspace, folder).replaceAll('\\', '/'));
  const addresses = Object.entries(manifest).filter(([key]) => ['repository', 'homepage', 'bugs'].includes(key));
  require(isDeepStrictEqual(
    Object.fromEntries(addresses),
    fields,
  ), 'package.json has not the addresses of scripts/publication.json: run `npx tsx scripts/write-publication.ts`');
  require(manifest.files?.includes('dist') ?? false, 'package.json needs "dist" in files');
  for (const problem of checkExports(folder, manifest)) require(false, problem);
  for (const file of ['README.md', 'src/index.ts', 'tsup.config.ts', 'tsconfig.json']) {
    require(existsSync(join(folder, file)), `${file} is missing`);
  }
  const sources = listFiles(folder, ['src', 'test']).filter((file) => file.endsWith('.ts'));
  const hasTest = sources.some((file) => file.endsWith('.test.ts'));
  if (isEmptyModule(join(folder, 'src', 'index.ts'))) warnings.push(`${name}: exports nothing yet`);
  else require(hasTest, 'has no test (*.test.ts in src or test)');
  for (const file of sources) {
    if (file.endsWith('.test.ts')) continue;
    const path = relative(workspace, file).replaceAll('\\', '/');
    const lines = readFileSync(file, 'utf8').split('\n').length - 1;
    if (lines > maxLines && !(path in longFiles)) problems.push(`${path}: ${lines} lines (at most ${maxLines})`);
    else if (lines > warnLines) warnings.push(`${path}: ${lines} lines (aim for at most ${warnLines})`);
  }
  return { problems, warnings };
}

/** Whether browsers get `browser.ts` in the place of an entry's module: the same names, without what needs Node. */
function hasBrowserVariant({ exports }: Manifest, entry: string): boolean {
  const target = exports?.[entry];
  return typeof target === 'object' && target.browser === './src/browser.ts';
}

/** Exports point at `src` here and at the matching file of `dist` in the published package. */
function checkExports(folder: string, manifest: Manifest): string[] {
  const problems: string[] = [];
  const published = manifest.publishConfig?.exports ?? {};
  const entries = codeEntries(manifest.exports);
  if (!entries.includes('.')) problems.push('exports needs "."');
  if (!manifest.exports?.['./package.json']) problems.push('exports needs "./package.json"');
  const same = Object.keys(manifest.exports ?? {}).join() === Object.keys(published).join();
  if (!same) problems.push('exports and publishConfig.exports list different entry points');
  for (const entry of entries) {
    const inBrowsers = hasBrowserVariant(manifest, entry);
    const sources = [sourceOf(manifest.exports, entry), ...(inBrowsers ? ['./src/browser.ts'] : [])];
    if (!sources.every((source) => source.startsWith('./src/') && existsSync(join(folder, source)))) {
      problems.push(`exports["${entry}"] must be an existing file under ./src`);
    }
    const built = published[entry];
    const stem = entry === '.' ? 'index' : entry.slice(2);
    const wanted = {
      types: `./dist/${stem}.d.ts`,
      ...(inBrowsers && { browser: './dist/browser.js' }),
      import: `./dist/${stem}.js`,
      default: `./dist/${stem}.js`,
    };
    if (JSON.stringify(built) !== JSON.stringify(wanted)) {
      problems.push(`publishConfig.exports["${entry}"] must be ${JSON.stringify(wanted)}`);
    }
  }
  return problems;
}

/** Packages whose rooms may need one another, each with the reason. */
const tiedRooms: Readonly<Record<string, string>> = {
  'core-tensor': 'a kernel is made of graph, and the graph names kernels; files form no circle',
};

/**
 * Circles of imports in a package. At run time there are none: which of the modules is initialised first would depend on
 * who is imported first. Types may refer to one another within a folder, not between folders. Rooms, the folders of `src`,
 * stand on one another: none imports another that imports it, by whatever files.
 */
export function checkImportCircles(workspace: string, { folder }: WorkspacePackage): string[] {
  const source = join(folder, 'src');
  if (!existsSync(source)) return [];
  const { all, atRunTime } = readImportGraph(source);
  const prefix = relative(workspace, source).replaceAll('\\', '/');
  const show = (circle: readonly string[]) =>
    `${circle.slice(0, 5).join(', ')}${circle.length > 5 ? ` and ${circle.length - 5} more` : ''}`;
  const betweenFolders = findCircles(all).filter((circle) => new Set(circle.map(dirname)).size > 1);
  return [
    ...findCircles(atRunTime).map((circle) => `${prefix}: files import one another at run time: ${show(circle)}`),
    ...betweenFolders.map((circle) => `${prefix}: types refer to one another between folders: ${show(circle)}`),
    // Where files say it already, their rooms need not.
    ...(betweenFolders.length > 0 || basename(folder) in tiedRooms ? [] : findCircles(roomsOf(all))).map(
      (circle) => `${prefix}: rooms import one another: ${show(circle)}`,
    ),
  ];
}

/** Who imports whom among the folders of `src`; files beside them are no rooms. */
function roomsOf(files: ReadonlyMap<string, readonly string[]>): Map<string, string[]> {
  const roomOf = (file: string) => (file.includes('/') ? file.split('/', 1)[0] : undefined);
  const rooms = new Map<string, Set<string>>();
  for (const [file, targets] of files) {
    const room = roomOf(file);
    if (room === undefined) continue;
    const others = rooms.get(room) ?? new Set();
    rooms.set(room, others);
    for (const target of targets.map(roomOf)) if (target !== undefined && target !== room) others.add(target);
  }
  return new Map([...rooms].map(([room, others]) => [room, [...others]]));
}

/** Who may depend on the tensor engine, and how. */
export function checkDependencies(packages: readonly WorkspacePackage[]): string[] {
  const problems: string[] = [];
  const manifests = new Map(packages.map(({ manifest }) => [manifest.name, manifest]));
  for (const name of light) {
    const path = findDependencyPath(manifests, name, (dependency) => /^onnxruntime|^@tensorflow\//.test(dependency));
    const enginePath = findDependencyPath(manifests, name, (dependency) => dependency === tensorEngine);
    const found = enginePath ?? path;
    if (found) problems.push(`${name} must not bring a tensor engine: ${found.join(' -> ')}`);
  }
  for (const name of engineAsPeer) {
    const manifest = manifests.get(name);
    if (!manifest) continue;
    if (!manifest.peerDependencies?.[tensorEngine]) problems.push(`${name}: ${tensorEngine} must be a peer dependency`);
    if (manifest.dependencies?.[tensorEngine]) problems.push(`${name}: ${tensorEngine} must not be a dependency`);
  }
  for (const [name, allowed] of Object.entries(arrows)) {
    const { dependencies, peerDependencies } = manifests.get(`@posttrain/${name}`) ?? {};
    for (const dependency of Object.keys({ ...dependencies, ...peerDependencies })) {
      const [, part] = /^@posttrain\/(.*)$/.exec(dependency) ?? [];
      if (part === undefined || allowed.includes(part)) continue;
      problems.push(`@posttrain/${name} may depend on ${allowed.join(', ')}, not on ${part}`);
    }
  }
  return problems;
}

/** The chain of installed dependencies (peers included) from a package to the first one that matches. */
function findDependencyPath(
  manifests: ReadonlyMap<string, Manifest>,
  from: string,
  matches: (dependency: string) => boolean,
): string[] | undefined {
  const seen = new Set([from]);
  const queue = [[from]];
  for (let path = queue.shift(); path; path = queue.shift()) {
    const manifest = manifests.get(path.at(-1)!);
    const { dependencies, peerDependencies, optionalDependencies } = manifest ?? {};
    for (const dependency of Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies })) {
      if (matches(dependency)) return [...path, dependency];
      if (!seen.has(dependency)) queue.push([...path, dependency]);
      seen.add(dependency);
    }
  }
  return undefined;
}

/** Before 1.0.0 a changeset may only say `patch` (.changeset/README.md has the reason). */
export function checkChangesets(workspace: string, packages: readonly WorkspacePackage[]): string[] {
  const folder = join(workspace, '.changeset');
  if (!packages.some(({ manifest }) => manifest.version.startsWith('0.')) || !existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith('.md') && file !== 'README.md')
    .filter((file) =>
      /^---\s[\s\S]*?:\s*["']?(?:minor|major)\b[\s\S]*?^---/m.test(readFileSync(join(folder, file), 'utf8')),
    )
    .map((file) => `.changeset/${file}: before 1.0.0 every changeset is "patch"; see .changeset/README.md`);
}

const forbiddenText: readonly (readonly [RegExp, string])[] = [
  [/(?<![\w.\-*/])\/(?:work|root|home\/\w+|Users\/\w+)\/[\w.]/, 'a path of one machine'],
  [/\b[A-Z]:\\Users\\\w/, 'a path of one machine'],
  [/https?:\/\/[^\s/"']*(?:registry|artifactory|nexus|verdaccio)[^\s/"']*/i, 'the address of a package registry'],
  [/\bregistry\.(?:npmjs|yarnpkg|npmmirror)\b/i, 'the address of a package registry'],
];
const binaryFile = /\.(?:safetensors|parquet|bin|onnx|png|jpg|ico|woff2?|gz|tgz)$/;

/** Tracked text must not name a machine's folders or a registry's host; undefined where git cannot list the files. */
export function checkTrackedText(workspace: string): string[] | undefined {
  return listTrackedFiles(workspace)
    ?.filter((path) => !binaryFile.test(path) && existsSync(join(workspace, path)))
    .flatMap((path) =>
      findForbiddenText(readFileSync(join(workspace, path), 'utf8')).map((found) => `${path}:${found}`),
    );
}

/** `line: what` for every line of a text that names a machine's folder or a registry's host. */
export function findForbiddenText(text: string): string[] {
  return text.split('\n').flatMap((line, i) => {
    const found = forbiddenText.find(([pattern]) => pattern.test(line));
    return found ? [`${i + 1}: ${found[1]}: ${found[0].exec(line)![0]}`] : [];
  });
}

function isEmptyModule(file: string): boolean {
  if (!existsSync(file)) return true;
  return !/\bexport\s+(?!\{\s*\})/.test(readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, ''));
}

function listFiles(folder: string, subfolders: readonly string[]): string[] {
  return subfolders
    .map((subfolder) => join(folder, subfolder))
    .filter((path) => existsSync(path))
    .flatMap((path) => readdirSync(path, { recursive: true, encoding: 'utf8' }).map((file) => join(path, file)));
}
