import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { platformOf } from './native-files.js';
import { emptyPlatform, fillPlatform } from './platforms.js';
import { npm } from './setup.mjs';
import { root } from './workspace.js';

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
