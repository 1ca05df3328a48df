// `npm run check:tarballs`: installs the packed packages into empty folders with npm, as a user would (install scripts run,
// the registry is the only host), and uses them from plain JavaScript and from strict TypeScript. The packages must have
// been built.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { findZig } from './cross-kernels.js';
import { type Installable, installTarballs } from './install-tarballs.js';
import { listNativeFiles } from './native-files.js';
import { KINDS } from './new/kinds.js';
import { layOut } from './new/lay-out.js';
import { writeChanges } from './new/write-changes.js';
import { packAll, packPlatform, type Tarball } from './pack.js';
import { kernelsName, PLATFORMS, packageName, platformFields } from './platforms.js';
import { checkRefusal, registryOnly } from './registry-only.js';
import { npm, tool } from './setup.mjs';
import { codeEntries, listPackages, readJson, root, sourceOf } from './workspace.js';

/** Packages that a user can install alone, without getting a tensor engine. */
const light = ['data', 'eval', 'interfaces', 'openai', 'sandbox', 'tts'];

/** What a light package must do where it is installed alone, beside being imported: what finds files of its own. */
const worksAlone: Readonly<Record<string, string>> = {
  sandbox: `
const { quickjs } = await import('@posttrain/sandbox');
const { stdout } = await quickjs().run({ language: 'javascript', code: 'print(6 * 7)' });
if (stdout !== '42\\n') throw new Error('the sandbox printed ' + stdout);`,
};

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

/** Bytes of machine code that an app gets: ONNX Runtime (54 MB on its largest platform) and koffi (2 MB). */
const MAX_NATIVE_BYTES = 64e6;
const here = `${process.platform}-${process.arch}`;
const own = `@posttrain/onnxruntime-${here}`;
const ownKernels = `@posttrain/kernels-${here}`;
const zig = findZig();

// Outside the repository, so that nothing resolves into its node_modules.
const temporary = mkdtempSync(join(tmpdir(), 'posttrain-tarballs-'));
const network = registryOnly(temporary);
try {
  checkRefusal(temporary, network);
  const tarballs = packAll();
  const optional = optionalPackages();
  const everything = installInto('everything', tarballs, optional);
  checkNative(everything);
  checkServer(everything);
  const exported = await importEverything(everything, tarballs);
  await compareWithSources(exported);
  checkTypes(everything, tarballs, 'NodeNext');
  checkTypes(everything, tarballs, 'Bundler');
  for (const name of light) checkAlone(name, tarballs);
  checkMethods(tarballs, optional);
} catch (error) {
  console.error(`problem: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  rmSync(temporary, { recursive: true, force: true, maxRetries: 3 });
}

/** The packages of this platform, and for each other a small one that npm must leave out. */
function optionalPackages(): Installable[] {
  return PLATFORMS.flatMap((platform) =>
    [packageName(platform), kernelsName(platform)].map((name) => {
      const isOwn = name === own || (name === ownKernels && !('missing' in zig));
      if (isOwn) return packPlatform(name);
      const folder = join(temporary, basename(name));
      mkdirSync(join(folder, 'package'), { recursive: true });
      const manifest = { name, version: '0.0.0', ...platformFields(platform) };
      writeFileSync(join(folder, 'package', 'package.json'), JSON.stringify(manifest));
      runIn(folder, ['tar', '-czf', `${basename(folder)}.tgz`, 'package'], 'tar');
      return { file: join(folder, `${basename(folder)}.tgz`), manifest };
    }),
  );
}

/**
 * A folder in which npm has installed the tarballs; everything else comes from the registry or npm's cache.
 * `optional`: what the packages' optional dependencies are taken from. `workspaces`: packages that are in the folder.
 */
function installInto(
  name: string,
  tarballs: readonly Tarball[],
  optional: readonly Installable[] = [],
  workspaces: readonly string[] = [],
): string {
  const folder = join(temporary, name);
  const { devDependencies } = readJson<{ devDependencies: Record<string, string> }>(join(root, 'package.json'));
  const types = { '@types/node': devDependencies['@types/node']!, ...typePeersOf(tarballs) };
  installTarballs(folder, tarballs, { optional, devDependencies: types, workspaces, env: network.env });
  const refused = network.takeRefused();
  if (refused.length > 0) throw new Error(`installing ${name} asked for ${refused.join(', ')}`);
  return folder;
}

/** The app has machine code of this platform only, little of it, and the engine computes with it. */
function checkNative(folder: string): void {
  const modules = join(folder, 'node_modules');
  for (const nameOf of [packageName, kernelsName]) {
    const installed = PLATFORMS.map(nameOf).filter((name) => existsSync(join(modules, name)));
    const wanted = PLATFORMS.map(nameOf).filter((name) => name === own || name === ownKernels);
    if (installed.join() !== wanted.join()) throw new Error(`of the packages by platform, [${installed}] are there`);
  }
  const files = listNativeFiles(modules);
  const foreign = files.filter(({ platform }) => platform !== here);
  if (foreign.length > 0)
    throw new Error(`libraries of other platforms: ${foreign.map(({ path }) => path).join(', ')}`);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > MAX_NATIVE_BYTES) throw new Error(`${bytes} bytes of machine code, at most ${MAX_NATIVE_BYTES}`);
  console.log(`native: ${files.length} files for ${here}, ${(bytes / 1e6).toFixed(1)} MB; no other host was asked for`);
  if (!PLATFORMS.map(packageName).includes(own)) {
    console.log(`native: ONNX Runtime has no library for ${here}, so nothing is computed`);
    return;
  }
  const script = [
    `import { currentEngine, tensor } from '@posttrain/core-tensor';`,
    'const product = await tensor([[1, 2], [3, 4]]).matmul(tensor([[5], [6]])).toArray();',
    `process.stdout.write([currentEngine().name, ...product].join(' '));`,
  ].join('\n');
  const command = [process.execPath, '--input-type=module', '--eval', script];
  const output = runIn(folder, command, 'computing with the installed packages');
  if (output !== 'onnxruntime 17 39') throw new Error(`the installed packages compute ${output}`);
  if ('missing' in zig) {
    console.log(`kernels: not packed, so not tried: ${zig.missing}`);
    return;
  }
  const kernels = [
    `import { setEngine, tensor } from '@posttrain/core-tensor';`,
    `import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';`,
    'const ops = [];',
    `setEngine(onnxruntimeEngine({ cpuKernels: 'plain', onAssignment: (nodes) => ops.push(...nodes.map(({ op }) => op)) }));`,
    'const product = await tensor([[1, 2], [3, 4]]).matmul(tensor([[5], [6]])).toArray();',
    `process.stdout.write([...ops, ...product].join(' '));`,
  ].join('\n');
  const computed = runIn(folder, [process.execPath, '--input-type=module', '--eval', kernels], 'the kernels');
  if (computed !== 'Product 17 39') throw new Error(`the installed kernels compute ${computed}`);
  console.log(`kernels: those of ${ownKernels} multiply`);
}

/**
 * The installed server makes tokens of a long prompt, and an automaton of a schema, in its thread: `dist/text-worker.js` is
 * started by its path, which no import shows. The command is there too.
 */
function checkServer(folder: string): void {
  const help = runIn(folder, [join(folder, 'node_modules', '.bin', 'posttrain-serve'), '--help'], 'posttrain-serve');
  if (!help.startsWith('Usage: posttrain-serve MODEL')) throw new Error(`posttrain-serve --help says ${help}`);
  const commands = runIn(folder, [join(folder, 'node_modules', '.bin', 'posttrain'), '--help'], 'posttrain');
  if (!commands.startsWith('Usage: posttrain COMMAND')) throw new Error(`posttrain --help says ${commands}`);
  if (!PLATFORMS.map(packageName).includes(own)) return;
  const script = [
    `import { CausalLM } from '@posttrain/lm';`,
    `import { createServer, localModels } from '@posttrain/serve';`,
    `process.on('warning', (warning) => { throw warning; });`,
    `const model = await CausalLM.load(${JSON.stringify(join(root, 'examples', 'pretrain-tiny', 'model'))});`,
    `const server = createServer(localModels('m', model));`,
    'const url = await server.listen({ port: 0 });',
    'const ask = async (path, body) => {',
    `  const headers = { 'content-type': 'application/json' };`,
    `  const init = { method: 'POST', headers, body: JSON.stringify({ model: 'm', ...body }) };`,
    '  return (await fetch(url + path, init)).json();',
    '};',
    `const long = await ask('/v1/completions', { prompt: '1 + 1 = 2. '.repeat(900) });`,
    `const json_schema = { name: 'x', schema: { enum: ['12', '34'] } };`,
    `const response_format = { type: 'json_schema', json_schema };`,
    `const messages = [{ role: 'user', content: '1 + 1' }];`,
    `const chat = await ask('/v1/chat/completions', { messages, response_format });`,
    'process.stdout.write(JSON.stringify([long.error.message, chat.choices[0].message.content]));',
    'await server.drain();',
  ].join('\n');
  const command = [process.execPath, '--input-type=module', '--eval', script];
  const output = runIn(folder, command, 'serving with the installed packages');
  // The context has 256 tokens, so that the answer is how many the prompt has.
  if (!/resulted in \d{4,5} tokens/.test(output) || !/"\\"(12|34)\\""\]$/.test(output)) {
    throw new Error(`the installed server answers ${output}`);
  }
  console.log('server: a long prompt and a schema were answered with the thread of the installed package');
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
      const source = join(folder, sourceOf(manifest.exports, entry));
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
  const entry = `await import('@posttrain/${name}');${worksAlone[name] ?? ''}`;
  runIn(folder, [process.execPath, '--input-type=module', '--eval', entry], `importing @posttrain/${name} alone`);
  const count = installed.filter((path) => path !== '').length;
  console.log(`@posttrain/${name} alone: ok (${count} packages with @types/node, no tensor engine)`);
}

/** What `npm run new` lays out as packages of their own, one of each kind, passes the kits of the installed packages. */
function checkMethods(tarballs: readonly Tarball[], optional: readonly Installable[]): void {
  const kinds = Object.keys(KINDS);
  const packages = kinds.map((kind) => `own-${kind}`);
  for (const [i, kind] of kinds.entries()) {
    const target = { package: join(temporary, 'methods', packages[i]!), versions: root };
    writeChanges(layOut(kind, `median-${kind}`, target).changes);
  }
  const folder = installInto('methods', tarballs, optional, packages);
  const [first = ''] = packages;
  const types = {
    extends: `./${first}/tsconfig.json`,
    include: packages.flatMap((name) => [`${name}/src`, `${name}/test`]),
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(types));
  runIn(folder, [...tool('typescript', 'tsc'), '-p', 'tsconfig.json'], 'typechecking the methods');
  for (const script of ['test', 'build']) runIn(join(folder, first), [...npm(), 'run', script], `npm run ${script}`);
  const isThere = `const { medianAdvantage } = await import('${first}'); process.stdout.write(medianAdvantage().name);`;
  const name = runIn(folder, [process.execPath, '--input-type=module', '--eval', isThere], 'importing a built method');
  if (name !== 'median-advantage') throw new Error(`the built method is called ${name}`);
  if (!PLATFORMS.map(packageName).includes(own)) return;
  const output = runIn(folder, [...npm(), 'exec', '--', 'vitest', 'run'], 'testing the methods');
  const [, files, tests] =
    /Test Files +(\d+) passed[\s\S]*Tests +(\d+) passed/.exec(stripVTControlCharacters(output)) ?? [];
  if (files !== `${kinds.length}`)
    throw new Error(`of ${kinds.length} methods, ${files ?? 'none'} have tests that ran:\n${output}`);
  console.log(`methods: a package of each of ${files} kinds passes its kit (${tests} tests)`);
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
function runIn(
  folder: string,
  [command = '', ...args]: readonly string[],
  what: string,
  env: NodeJS.ProcessEnv = process.env,
): string {
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    cwd: folder,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 300_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status === 0) return stdout;
  throw new Error(`${what} in ${basename(folder)} ended with ${status ?? signal}:\n${stdout}${stderr}`);
}
