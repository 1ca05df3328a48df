import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Manifest, readJson, root } from './workspace.js';

let checkout: string;
beforeEach(() => {
  checkout = mkdtempSync(join(tmpdir(), 'setup-'));
  for (const folder of ['scripts', 'packages/empty', 'node_modules']) {
    mkdirSync(join(checkout, folder), { recursive: true });
  }
  const files = ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc', 'scripts/setup.mjs'];
  for (const file of files) copyFileSync(join(root, file), join(checkout, file));
  writeFileSync(join(checkout, 'scripts/run.mjs'), `import { setup } from './setup.mjs'; await setup();`);
});
afterEach(() => rmSync(checkout, { recursive: true, force: true }));

function setUp(environment: Record<string, string> = {}) {
  const env = { ...process.env, ...environment };
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/run.mjs'], {
    cwd: checkout,
    encoding: 'utf8',
    env,
  });
  return { status, output: stdout + stderr };
}

it('says which Node is needed when this one is too old', () => {
  const manifest = readJson<Manifest>(join(root, 'package.json'));
  writeFileSync(join(checkout, 'package.json'), JSON.stringify({ ...manifest, engines: { node: '>=99.1' } }));
  const { status, output } = setUp();
  expect(output).toContain(`Node 99.1 or newer is needed; this is Node ${process.versions.node}`);
  expect(status).toBe(1);
});

it('says what to do when the registry cannot be reached, and leaves no stamp', () => {
  const stamp = join(checkout, 'node_modules', '.posttrain-setup');
  writeFileSync(stamp, 'of another lockfile');
  const { status, output } = setUp({
    npm_config_registry: 'http://127.0.0.1:9/',
    npm_config_cache: join(checkout, 'cache'),
    npm_config_store_dir: join(checkout, 'store'),
    npm_config_fetch_retries: '0',
    HTTPS_PROXY: '',
    HTTP_PROXY: '',
  });
  expect(output).toContain('the package registry could not be reached');
  expect(status).not.toBe(0);
  expect(existsSync(stamp)).toBe(false);
});
