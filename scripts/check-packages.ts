// `npm run check:packages`: packs every package and checks the tarballs, not the folders: contents, exports, publint
// and arethetypeswrong.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { packAll, type Tarball } from './pack.js';
import { tool } from './setup.mjs';
import { codeEntries, listPackages } from './workspace.js';

const tarballs = packAll();
const problems: string[] = [];
const folders = new Map(listPackages().map(({ folder, manifest }) => [manifest.name, folder]));

for (const tarball of tarballs) {
  const { name } = tarball.manifest;
  const found = [...checkContents(tarball), ...(await runPublint(tarball)), ...runTypesCheck(tarball)];
  problems.push(...found.map((problem) => `${name}: ${problem}`));
  console.log(`${name}: ${tarball.paths.length} files, ${found.length === 0 ? 'clean' : `${found.length} problems`}`);
}
if (tarballs.length !== folders.size) problems.push(`packed ${tarballs.length} of ${folders.size} packages`);
for (const problem of problems) console.error(`problem: ${problem}`);
process.exit(problems.length === 0 ? 0 : 1);

function checkContents({ paths, manifest }: Tarball): string[] {
  const present = new Set(paths);
  const targets = codeEntries(manifest.exports).flatMap((entry) => Object.values(manifest.exports?.[entry] ?? {}));
  const wanted = ['LICENSE', 'NOTICE', 'README.md', ...targets.map((path) => path.replace(/^\.\//, ''))];
  const missing = [...new Set(wanted)].filter((path) => !present.has(path)).map((path) => `${path} is not packed`);
  const stray = paths.filter((path) => /\.test\.|(^|\/)(goldens|fixtures|test)\//.test(path));
  const ranges = Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies });
  const local = ranges.filter(([, range]) => /^(workspace|file|link):/.test(range)).map(([name]) => name);
  return [
    ...missing,
    ...stray.map((path) => `${path} is for tests only and must not be packed`),
    ...local.map((name) => `the range of ${name} points into the workspace`),
  ];
}

async function runPublint({ file }: Tarball): Promise<string[]> {
  const bytes = readFileSync(file);
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const { messages, pkg } = await publint({ pack: { tarball }, strict: true });
  return messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`);
}

function runTypesCheck({ file }: Tarball): string[] {
  const [command, script] = tool('@arethetypeswrong/cli', 'attw');
  const args = [script, file, '--profile', 'esm-only', '--format', 'ascii', '--no-color', '--no-emoji'];
  const result = spawnSync(command, args, { encoding: 'utf8', timeout: 120_000 });
  return result.status === 0 ? [] : [`arethetypeswrong:\n${result.stdout}${result.stderr}`];
}
