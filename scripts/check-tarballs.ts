// `npm run check:tarballs`: installs the packed packages into empty folders with npm, as a user would, and uses them
// from plain JavaScript and from strict TypeScript. The packages must have been built.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packAll, type Tarball } from './pack.js';
import { npm, tool } from './setup.mjs';
import { codeEntries, listPackages, readJson, root } from './workspace.js';

/** Packages that a user can install alone, without getting a tensor engine. */
const light = ['data', 'eval', 'interfaces', 'tts'];

/** Source that must typecheck against the installed types, and an error that they must report. */
const generatorExample = `
import { type Generator, PosttrainError } from '@posttrain/interfaces';
export const echo: Generator = {
  name: 'echo',
  generate: async (requests) => {
    if (requests.length === 0) throw new PosttrainError('EMPTY', 'nothing to generate');
    return requests.map(({ prompt }) => [
      { text: String(prompt), finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } },
    ]);
  },
};
// @ts-expect-error a generator needs a name
export const nameless: Generator = { generate: async () => [] };`;

/** Optional peers whose types an entry point shows: whoever imports it has them. */
const TYPE_PEERS = ['@ai-sdk/provider'];

// Outside the repository, so that nothing resolves into its node_modules.
const temporary = mkdtempSync(join(tmpdir(), 'posttrain-tarballs-'));
try {
  const tarballs = packAll();
  const everything = installInto('everything', tarballs);
  const exported = await importEverything(everything, tarballs);
  await compareWithSources(exported);
  checkTypes(everything, tarballs, 'NodeNext');
  checkTypes(everything, tarballs, 'Bundler');
  for (const name of light) checkAlone(name, tarballs);
} catch (error) {
  console.error(`problem: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  rmSync(temporary, { recursive: true, force: true, maxRetries: 3 });
}

/** A new folder in which npm has installed the tarballs; everything else comes from the registry or npm's cache. */
function installInto(name: string, tarballs: readonly Tarball[]): string {
  const folder = join(temporary, name);
  mkdirSync(folder);
  for (const { file } of tarballs) copyFileSync(file, join(folder, basename(file)));
  const dependencies = tarballs.map(({ file, manifest }) => [manifest.name, `file:./${basename(file)}`] as const);
  const { devDependencies } = readJson<{ devDependencies: Record<string, string> }>(join(root, 'package.json'));
  const manifest = {
    name: 'consumer',
    private: true,
    type: 'module',
    dependencies: Object.fromEntries(dependencies),
    devDependencies: { '@types/node': devDependencies['@types/node'], ...typePeersOf(tarballs) },
  };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2));
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  runIn(folder, [...npm(), 'install', '--ignore-scripts', '--prefer-offline', ...quiet], 'npm install');
  return folder;
}

function typePeersOf(tarballs: readonly Tarball[]): Record<string, string> {
  const peers = Object.assign({}, ...tarballs.map(({ manifest }) => manifest.peerDependencies ?? {}));
  // The AI SDK's own types need these, and do not say so.
  const missing = { '@types/json-schema': '^7.0.15' };
  return {
    ...missing,
    ...Object.fromEntries(TYPE_PEERS.flatMap((name) => (name in peers ? [[name, peers[name]]] : []))),
  };
}

/** Imports every entry point from a plain ESM script; returns the names that each exports. */
async function importEverything(folder: string, tarballs: readonly Tarball[]): Promise<Record<string, string[]>> {
  const script = [
    `const specifiers = ${JSON.stringify(listSpecifiers(tarballs))};`,
    'const names = {};',
    'for (const specifier of specifiers) names[specifier] = Object.keys(await import(specifier)).sort();',
    'process.stdout.write(JSON.stringify(names));',
  ];
  writeFileSync(join(folder, 'consumer.js'), script.join('\n'));
  const output = runIn(folder, [process.execPath, 'consumer.js'], 'importing the installed packages');
  return JSON.parse(output) as Record<string, string[]>;
}

/** What is published exports exactly what the sources export. */
async function compareWithSources(exported: Record<string, string[]>): Promise<void> {
  for (const { folder, manifest } of listPackages()) {
    for (const entry of codeEntries(manifest.exports)) {
      const specifier = toSpecifier(manifest.name, entry);
      const source = join(folder, String(manifest.exports?.[entry]));
      const wanted = Object.keys((await import(pathToFileURL(source).href)) as object).sort();
      const present = exported[specifier] ?? [];
      if (wanted.join() !== present.join()) {
        throw new Error(`${specifier} exports [${present}] when installed but [${wanted}] in the sources`);
      }
      console.log(`${specifier}: ${present.length} exports`);
    }
  }
}

/** Typechecks a strict consumer of every entry point, the declarations of the packages included. */
function checkTypes(folder: string, tarballs: readonly Tarball[], moduleResolution: 'NodeNext' | 'Bundler'): void {
  const imports = listSpecifiers(tarballs).map((specifier, i) => `import * as package${i} from '${specifier}';`);
  const uses = imports.map((_, i) => `export type Package${i} = typeof package${i};`);
  writeFileSync(join(folder, 'consumer.ts'), `${[...imports, ...uses, generatorExample].join('\n')}\n`);
  const config = {
    compilerOptions: {
      module: moduleResolution === 'NodeNext' ? 'NodeNext' : 'ESNext',
      moduleResolution,
      target: 'ES2022',
      lib: ['ES2023'],
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
    },
    files: ['consumer.ts'],
  };
  const project = `tsconfig.${moduleResolution}.json`;
  writeFileSync(join(folder, project), JSON.stringify(config));
  runIn(folder, [...tool('typescript', 'tsc'), '-p', project], `typechecking with ${moduleResolution}`);
  console.log(`types: ok with moduleResolution ${moduleResolution}`);
}

/** A light package, installed alone, works and has brought neither core-tensor nor a tensor library. */
function checkAlone(name: string, tarballs: readonly Tarball[]): void {
  const wanted = [`@posttrain/${name}`, '@posttrain/interfaces'];
  const chosen = tarballs.filter(({ manifest }) => wanted.includes(manifest.name));
  const folder = installInto(name, chosen);
  const installed = Object.keys(
    readJson<{ packages: Record<string, unknown> }>(join(folder, 'package-lock.json')).packages,
  );
  const engines = installed.filter((path) => /onnxruntime|@tensorflow\/|core-tensor/.test(path));
  if (engines.length > 0) throw new Error(`@posttrain/${name} alone installs ${engines.join(', ')}`);
  const entry = `await import('@posttrain/${name}')`;
  runIn(folder, [process.execPath, '--input-type=module', '--eval', entry], `importing @posttrain/${name} alone`);
  const count = installed.filter((path) => path !== '').length;
  console.log(`@posttrain/${name} alone: ok (${count} packages with @types/node, no tensor engine)`);
}

function listSpecifiers(tarballs: readonly Tarball[]): string[] {
  return tarballs.flatMap(({ manifest }) =>
    codeEntries(manifest.exports).map((entry) => toSpecifier(manifest.name, entry)),
  );
}

/** `@posttrain/peft` and `./testing` make `@posttrain/peft/testing`. */
function toSpecifier(name: string, entry: string): string {
  return name + entry.slice(1);
}

/** Runs a command in a folder and returns what it wrote; throws with its output when it fails. */
function runIn(folder: string, [command = '', ...args]: readonly string[], what: string): string {
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 300_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status === 0) return stdout;
  throw new Error(`${what} in ${basename(folder)} ended with ${status ?? signal}:\n${stdout}${stderr}`);
}
