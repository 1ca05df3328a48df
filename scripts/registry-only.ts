import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { npm } from './setup.mjs';

export interface RegistryOnly {
  /** For a command that may reach npm's registry and no other host. */
  readonly env: NodeJS.ProcessEnv;
  /** The hosts that were refused since the last call. */
  takeRefused(): string[];
}

/**
 * Cuts the network to npm's registry for npm and the install scripts that it starts: in Node by refusing to connect, in
 * other programs by a proxy that is not there. Where a proxy leads to the registry it must stay reachable, and then only
 * programs that do not use it are cut off.
 */
export function registryOnly(folder: string): RegistryOnly {
  const [command = '', ...args] = npm();
  const get = (key: string): string =>
    spawnSync(command, [...args, 'config', 'get', key], { cwd: folder, encoding: 'utf8' }).stdout.trim();
  const proxies = [get('https-proxy'), get('proxy')].filter((url) => /^https?:/.test(url));
  const allowed = [get('registry'), ...proxies].map((url) => new URL(url).hostname);
  const refused = join(folder, 'refused-hosts');
  const nowhere = 'http://127.0.0.1:9';
  const noProxy = { HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere, NO_PROXY: allowed.join(',') };
  const lowerCase = Object.fromEntries(Object.entries(noProxy).map(([key, value]) => [key.toLowerCase(), value]));
  return {
    env: {
      ...process.env,
      ...(proxies.length === 0 ? { ...noProxy, ...lowerCase } : {}),
      NODE_OPTIONS: `--require ${JSON.stringify(join(import.meta.dirname, 'refuse-hosts.cjs'))}`,
      ALLOWED_HOSTS: allowed.join(','),
      REFUSED_HOSTS: refused,
    },
    takeRefused: () => {
      const hosts = existsSync(refused) ? readFileSync(refused, 'utf8').trim().split('\n') : [];
      rmSync(refused, { force: true });
      return hosts;
    },
  };
}

/** Throws unless install scripts run and are refused another host, in every way that they may reach one. */
export function checkRefusal(folder: string, { env, takeRefused }: RegistryOnly): void {
  const host = 'downloads.example.com';
  const attempts = [
    `fetch('https://${host}/')`,
    `new Promise((resolve, reject) => require('https').get('https://${host}/', resolve).on('error', reject))`,
    `new Promise((resolve, reject) => require('net').connect(80, '${host}', resolve).on('error', reject))`,
  ];
  const app = join(folder, 'control');
  const dependency = join(app, 'package');
  mkdirSync(dependency, { recursive: true });
  const script = `Promise.allSettled([${attempts.join(', ')}]).then((results) => { console.error(results); process.exit(7); })`;
  writeFileSync(join(dependency, 'postinstall.cjs'), script);
  const scripts = { postinstall: 'node postinstall.cjs' };
  writeFileSync(join(dependency, 'package.json'), JSON.stringify({ name: 'asks', version: '1.0.0', scripts }));
  spawnSync('tar', ['-czf', 'asks.tgz', 'package'], { cwd: app });
  const dependencies = { asks: 'file:asks.tgz' };
  writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'control', private: true, dependencies }));
  const [command = '', ...args] = [...npm(), 'install', '--no-audit', '--no-fund', '--foreground-scripts'];
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: app, env, encoding: 'utf8', timeout: 300_000 });
  const refusals = stderr.match(/status: 'rejected'/g)?.length;
  if (status !== 0 && refusals === attempts.length && takeRefused().join() === attempts.map(() => host).join()) return;
  throw new Error(`an install script was not refused another host (status ${status}):\n${stdout}${stderr}`);
}
