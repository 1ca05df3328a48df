import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { platformOf } from './native-files.js';
import { emptyPlatform, fillPlatform } from './platforms.js';
import { npm } from './setup.mjs';
import { type Manifest, readJson, root } from './workspace.js';

describe('setup', () => {
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
});

it('npm pack in a package stops and says what to do', () => {
  const [command = '', ...args] = [...npm(), 'pack', '--dry-run'];
  const { status, stderr } = spawnSync(command, args, { cwd: join(root, 'packages', 'tts'), encoding: 'utf8' });
  expect(stderr).toContain('Run `npm run pack` in the root of the repository');
  expect(status).toBe(1);
});

it.each([
  ['pnpm/10.34.9 npm/? node/v20.20.2 linux x64', 0],
  ['npm/11.19.1 node/v20.20.2 linux x64 workspaces/false', 1],
  ['yarn/4.9.2 npm/? node/v20.20.2 linux x64', 1],
  ['', 1],
])('prepack run by "%s" ends with %i', (agent, wanted) => {
  const env = { ...process.env, npm_config_user_agent: agent };
  expect(spawnSync(process.execPath, [join(root, 'scripts', 'prepack.mjs')], { env }).status).toBe(wanted);
});

it('fills the package of a platform out of onnxruntime-node, and empties it', () => {
  const temporary = mkdtempSync(join(tmpdir(), 'platform-'));
  try {
    const folder = join(temporary, 'onnxruntime-linux-arm64');
    mkdirSync(folder);
    for (const file of ['package.json', 'of-another-time.so']) writeFileSync(join(folder, file), '{}');
    fillPlatform(folder);
    const files = ['LICENSE', 'ThirdPartyNotices.txt', 'libonnxruntime.so.1', 'package.json'];
    expect(readdirSync(folder).sort()).toEqual(files);
    expect(platformOf(join(folder, 'libonnxruntime.so.1'))).toBe('linux-arm64');
    emptyPlatform(folder);
    expect(readdirSync(folder)).toEqual(['package.json']);
    expect(() => fillPlatform(temporary)).toThrow("is not the folder of a platform's package");
  } finally {
    rmSync(temporary, { recursive: true });
  }
});
