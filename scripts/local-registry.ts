import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runNpm } from './run-npm.js';

const VERDACCIO = '6.10.4';

/** A registry of npm packages on this machine, for as long as a check needs it. */
export interface LocalRegistry {
  readonly url: string;
  /** Puts a tarball into it. */
  publish(tarball: string): void;
  close(): void;
}

/**
 * Installs verdaccio into `folder` and starts it with `node`, on the loopback. Packages of ours are its own; all others come from the
 * registry that npm is set to.
 */
export async function startLocalRegistry(folder: string, node: string): Promise<LocalRegistry> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}');
  const upstream = runNpm(folder, ['config', 'get', 'registry']).trim();
  runNpm(folder, [
    'install',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--engine-strict=false',
    `verdaccio@${VERDACCIO}`,
  ]);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  writeFileSync(join(folder, 'config.yaml'), configOf(join(folder, 'storage'), upstream));
  const verdaccio = join(folder, 'node_modules', 'verdaccio', 'bin', 'verdaccio');
  const child = spawn(node, [verdaccio, '--config', join(folder, 'config.yaml'), '--listen', `127.0.0.1:${port}`], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
  await answers(url, child, () => said).catch((error: unknown) => {
    child.kill();
    throw error;
  });
  // npm wants some token before it publishes; this registry takes any.
  const settings = ['--registry', url, `--//127.0.0.1:${port}/:_authToken=anybody`];
  return {
    url,
    publish: (tarball) => void runNpm(folder, ['publish', tarball, '--provenance=false', ...settings]),
    close: () => void child.kill(),
  };
}

/** Strings of JSON are strings of YAML. */
const configOf = (storage: string, upstream: string): string => `
storage: ${JSON.stringify(storage)}
uplinks: { upstream: { url: ${JSON.stringify(upstream)}, maxage: 60m } }
packages:
  '@posttrain/*': { access: $all, publish: $all }
  'posttrain': { access: $all, publish: $all }
  '**': { access: $all, proxy: upstream }
max_body_size: 200mb
log: { type: stdout, format: pretty, level: warn }
`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}

async function answers(url: string, child: ChildProcess, said: () => string): Promise<void> {
  for (let tries = 0; tries < 120; tries++) {
    if (child.exitCode !== null) throw new Error(`verdaccio ended with ${child.exitCode}:\n${said()}`);
    const response = await fetch(`${url}-/ping`).catch(() => undefined);
    if (response?.ok) return;
    await sleep(500);
  }
  throw new Error(`verdaccio did not answer:\n${said()}`);
}
