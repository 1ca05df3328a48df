/**
 * `npm run release [-- --dry-run] [--node 20,22,24]`: what has to be true before packages are published, and then publishes them.
 *
 * 1. builds all packages and packs them as they would be published;
 * 2. provenance's conditions: public, with provenance, and from the repository that scripts/publication.json names;
 * 3. puts the tarballs into a registry on this machine and installs them from there into an empty app, on each Node.js;
 * 4. there: every entry point is imported, the command line answers, and the bill of materials (CycloneDX, `npm sbom`) has every
 *    package with a licence;
 * 5. without --dry-run: `changeset publish`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { type LocalRegistry, startLocalRegistry } from './local-registry.js';
import { packAll, packPlatform, type Tarball } from './pack.js';
import { kernelsName, PLATFORMS, packageName } from './platforms.js';
import { missingAddresses, publicationFields, readPublication } from './publication.mjs';
import { runNpm } from './run-npm.js';
import { pnpm, run } from './setup.mjs';
import { codeEntries, listPackages, root } from './workspace.js';

/** npm's packages with Node.js itself: one a platform, without install scripts. */
const NODES: Readonly<Record<string, string>> = { 20: '20.20.2', 22: '22.23.5', 24: '24.22.3' };

const { values: flags } = parseArgs({
  options: {
    'dry-run': { type: 'boolean', default: false },
    node: { type: 'string', default: Object.keys(NODES).join(',') },
  },
});
const versions = flags.node.split(',');
const unknown = versions.find((version) => !Object.hasOwn(NODES, version));
if (unknown !== undefined) throw new Error(`--node ${unknown}: take some of ${Object.keys(NODES).join(', ')}`);

const missing = missingAddresses(readPublication(root));
if (missing.length > 0 && !flags['dry-run']) {
  throw new Error(`scripts/publication.json has no address for ${missing.join(', ')}: nothing is published without`);
}
const status = run([...pnpm(), 'exec', 'turbo', 'run', 'build', '--output-logs=errors-only', '--ui=stream']);
if (status !== 0) process.exit(status);

const temporary = mkdtempSync(join(tmpdir(), 'posttrain-release-'));
let registry: LocalRegistry | undefined;
try {
  const here = PLATFORMS.find(({ os, cpu }) => os === process.platform && cpu === process.arch);
  if (!here) throw new Error(`no platform of ${process.platform}-${process.arch}`);
  const packages = packAll(join(temporary, 'tarballs'));
  const problems = packages.flatMap(({ manifest }) => provenanceProblems(manifest));
  if (problems.length > 0) throw new Error(problems.join('\n'));
  console.log(
    `provenance: ${packages.length} packages say where they come from${missing.length > 0 ? ', but for the address, which is not known yet' : ''}`,
  );
  const platforms = [packageName, kernelsName].map((nameOf) =>
    packPlatform(nameOf(here), join(temporary, 'platforms')),
  );
  const nodes = new Map(versions.map((version) => [version, installNode(join(temporary, `node-${version}`), version)]));
  registry = await startLocalRegistry(join(temporary, 'registry'), nodes.get(versions.at(-1)!)!);
  for (const { file } of [...platforms, ...packages]) registry.publish(file);
  for (const [version, node] of nodes) checkApp(join(temporary, `app-${version}`), node, packages, registry.url);
  if (flags['dry-run']) console.log('Nothing was published (--dry-run).');
} finally {
  registry?.close();
  rmSync(temporary, { recursive: true, force: true, maxRetries: 3 });
}
if (!flags['dry-run']) process.exit(run([...pnpm(), 'exec', 'changeset', 'publish']));

/** What npm asks of a package before it vouches for its origin. */
function provenanceProblems(manifest: Tarball['manifest']): string[] {
  const { name, publishConfig, repository } = manifest as Tarball['manifest'] & {
    readonly publishConfig?: { readonly access?: string; readonly provenance?: boolean };
  };
  const { folder } = listPackages().find((entry) => entry.manifest.name === name)!;
  const wanted = publicationFields(readPublication(root), relative(root, folder).replaceAll('\\', '/')).repository;
  return [
    ...(publishConfig?.access === 'public' ? [] : [`${name}: publishConfig.access must be public`]),
    ...(publishConfig?.provenance === true ? [] : [`${name}: publishConfig.provenance must be true`]),
    ...(JSON.stringify(repository) === JSON.stringify(wanted)
      ? []
      : [`${name}: repository is not that of scripts/publication.json`]),
  ];
}

/** Node.js of a version out of npm's registry; its executable. */
function installNode(folder: string, version: string): string {
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}');
  runNpm(folder, ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${NODES[version]}`]);
  return join(folder, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
}

/** An app with nothing in it gets all packages from the registry and uses them. */
function checkApp(folder: string, node: string, packages: readonly Tarball[], registryUrl: string): void {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"name":"app","version":"1.0.0","private":true,"type":"module"}');
  const names = packages.map(({ manifest }) => `${manifest.name}@${manifest.version}`);
  runNpm(folder, ['install', '--no-audit', '--no-fund', '--registry', registryUrl, ...names]);
  const entries = packages.flatMap(({ manifest }) =>
    codeEntries(manifest.exports)
      .filter((entry) => !entry.startsWith('./testing') && entry !== './tfjs')
      .map((entry) => manifest.name + entry.slice(1)),
  );
  writeFileSync(
    join(folder, 'app.js'),
    `${entries.map((entry) => `await import('${entry}');`).join('\n')}\nconsole.log('imported');\n`,
  );
  const started = spawnSync(node, ['app.js'], { cwd: folder, encoding: 'utf8', timeout: 300_000 });
  if (started.stdout.trim() !== 'imported') throw new Error(`Node.js ${version}: ${started.stdout}${started.stderr}`);
  const cli = join('node_modules', 'posttrain', 'dist', 'cli.js');
  const help = spawnSync(node, [cli, '--version'], { cwd: folder, encoding: 'utf8', timeout: 60_000 });
  if (help.status !== 0) throw new Error(`Node.js ${version}: posttrain --version: ${help.stdout}${help.stderr}`);
  const licences = checkBill(folder, packages);
  console.log(
    `Node.js ${version}: ${entries.length} entry points imported, posttrain ${help.stdout.trim()}, ${licences} packages in the bill of materials`,
  );
}

/** The bill of materials of the app has each of our packages, and a licence for every package; how many. */
function checkBill(folder: string, packages: readonly Tarball[]): number {
  const bill = JSON.parse(runNpm(folder, ['sbom', '--sbom-format', 'cyclonedx', '--omit', 'dev'])) as {
    readonly components: readonly {
      readonly name: string;
      readonly group?: string;
      readonly licenses?: readonly unknown[];
    }[];
  };
  const nameOf = ({ group, name }: { group?: string; name: string }) => (group ? `${group}/${name}` : name);
  const named = new Set(bill.components.map(nameOf));
  const absent = packages.map(({ manifest }) => manifest.name).filter((name) => !named.has(name));
  const unlicensed = bill.components.filter(({ licenses }) => !licenses?.length).map(nameOf);
  if (absent.length > 0) throw new Error(`the bill of materials lacks ${absent.join(', ')}`);
  if (unlicensed.length > 0) throw new Error(`without a licence: ${unlicensed.join(', ')}`);
  return bill.components.length;
}
