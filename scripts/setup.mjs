// Installs the workspace once per lockfile, with nothing but Node and npm on the machine.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const stampFile = join(root, 'node_modules', '.posttrain-setup');
const networkErrors =
  /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|META_FETCH_FAIL/;

/** Ends the process with a message that says what to do. */
export function fail(message, status = 1) {
  console.error(`\n${message}`);
  process.exit(status);
}

/** The arguments that make Node run a tool of node_modules, the same on every platform (no .cmd shims, no shell). */
export function tool(packageName, binName = packageName) {
  const folder = join(root, 'node_modules', packageName);
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return [process.execPath, join(folder, typeof bin === 'string' ? bin : bin[binName])];
}

/** Runs `[command, ...arguments]` in the repository root, without stdin; returns the exit status (128 + n for signal n). */
export function run([command, ...args], options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options });
  if (result.error) throw result.error;
  return exitStatus(result.status, result.signal);
}

const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };
const exitStatus = (status, signal) => status ?? 128 + (signalNumbers[signal] ?? 1);

/** The command line of npm, as `[command, ...arguments]`. */
export function npm() {
  const nodeFolder = dirname(process.execPath);
  const candidates = [
    process.env.npm_execpath,
    join(nodeFolder, 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    join(nodeFolder, '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
  ];
  const cli = candidates.find((path) => path?.endsWith('npm-cli.js') && existsSync(path));
  if (cli) return [process.execPath, cli];
  if (process.platform !== 'win32') return ['npm'];
  return fail('npm was not found beside Node. Install Node with its npm, or start this through `npm`.');
}

let pnpmCommand;
/** The command line of the pinned pnpm: the one on the machine when it is that version, else npm's copy of it. */
export function pnpm() {
  pnpmCommand ??= findPnpm();
  return pnpmCommand;
}

function findPnpm() {
  const wanted = manifest.packageManager.split('@')[1].split('+')[0];
  // Asked outside the repository and without a network, so that neither pnpm nor corepack fetches another version.
  const present = spawnSync('pnpm', ['--version'], {
    cwd: tmpdir(),
    encoding: 'utf8',
    timeout: 15_000,
    env: { ...process.env, COREPACK_ENABLE_NETWORK: '0', COREPACK_ENABLE_DOWNLOAD_PROMPT: '0' },
  });
  if (present.status === 0 && present.stdout.trim() === wanted) return ['pnpm'];
  const patience = ['--fetch-retry-mintimeout=2000', '--fetch-retry-maxtimeout=10000'];
  return [...npm(), 'exec', '--yes', '--loglevel=error', ...patience, `--package=pnpm@${wanted}`, '--', 'pnpm'];
}

function checkNode() {
  const wanted = manifest.engines.node.replace(/^>=/, '').split('.').map(Number);
  const present = process.versions.node.split('.').map(Number);
  const difference = wanted.map((part, i) => present[i] - part).find((d) => d !== 0) ?? 0;
  if (difference >= 0) return;
  fail(
    `Node ${wanted.join('.')} or newer is needed; this is Node ${process.versions.node} (${process.execPath}).\n` +
      'Install a newer one (for example `nvm install 22`) and run the command again.',
  );
}

/** A digest of everything that decides what the installation contains. */
function stamp() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} ${process.versions.modules}`);
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', '.npmrc']) {
    hash.update(readFileSync(join(root, file)));
  }
  return hash.digest('hex');
}

function isInstalled() {
  if (!existsSync(stampFile) || readFileSync(stampFile, 'utf8') !== stamp()) return false;
  return readdirSync(join(root, 'packages')).every((name) => {
    const file = join(root, 'packages', name, 'package.json');
    if (!existsSync(file)) return true;
    return !JSON.parse(readFileSync(file, 'utf8')).dependencies || existsSync(join(dirname(file), 'node_modules'));
  });
}

/** Installs the dependencies unless they already match the lockfile. An interrupted set-up is taken up by the next. */
export async function setup() {
  checkNode();
  if (isInstalled()) return;
  console.log(`Setting up: ${manifest.packageManager} install (once per lockfile)`);
  const start = Date.now();
  rmSync(stampFile, { force: true });
  const { status, output } = await runAndKeep([
    ...pnpm(),
    'install',
    '--frozen-lockfile',
    '--reporter=append-only',
    '--loglevel=info',
  ]);
  if (status !== 0) fail(explainFailure(status, output), status);
  writeFileSync(`${stampFile}.${process.pid}`, stamp());
  renameSync(`${stampFile}.${process.pid}`, stampFile);
  console.log(`Set up in ${((Date.now() - start) / 1000).toFixed(0)} s\n`);
}

/** Runs a command, showing its output and keeping the end of it. */
function runAndKeep([command, ...args]) {
  return new Promise((resolve, reject) => {
    // CI=true keeps pnpm from asking whether it may replace a node_modules folder that it did not make.
    const env = { ...process.env, CI: 'true' };
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env });
    let output = '';
    const show = (stream) => (chunk) => {
      stream.write(chunk);
      output = (output + chunk).slice(-20_000);
    };
    child.stdout.on('data', show(process.stdout));
    child.stderr.on('data', show(process.stderr));
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status: exitStatus(status, signal), output }));
  });
}

function explainFailure(status, output) {
  if (networkErrors.test(output)) {
    return (
      'Set-up failed: the package registry could not be reached (details above).\n' +
      'The first set-up needs a network. Check the connection, the proxy (HTTPS_PROXY) and `npm config get registry`,\n' +
      'then run the command again: it goes on where it stopped.'
    );
  }
  if (/ENOSPC/.test(output))
    return 'Set-up failed: the disk is full. About 1 GB is needed; free some and run it again.';
  if (/ERR_PNPM_OUTDATED_LOCKFILE/.test(output)) {
    return 'Set-up failed: pnpm-lock.yaml does not match a package.json. Run `npm run pnpm -- install` and commit both.';
  }
  return `Set-up failed: the installation ended with status ${status} (details above). Running it again resumes it.`;
}
