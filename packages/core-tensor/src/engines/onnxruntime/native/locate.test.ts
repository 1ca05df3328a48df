import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EngineError } from '../../../errors.js';
import { loadOnnxruntime } from './library.js';
import {
  CUDA_PROVIDER,
  type LibraryHost,
  locateLibrary,
  ONNXRUNTIME_PLATFORMS,
  ONNXRUNTIME_VERSION,
} from './locate.js';

const LINUX = { platform: 'linux', arch: 'x64' };
const OWN = '@posttrain/onnxruntime-linux-x64/libonnxruntime.so.1';
const OTHER = 'onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1';

let app: string;
beforeEach(() => {
  app = mkdtempSync(join(realpathSync(tmpdir()), 'locate-'));
});
afterEach(() => rmSync(app, { recursive: true, force: true }));

/** Files in node_modules of an app. */
function install(files: Readonly<Record<string, unknown>>): void {
  for (const [file, content] of Object.entries(files)) {
    const path = join(app, 'node_modules', file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  }
}

const platformPackage = (file = 'libonnxruntime.so.1', name = 'linux-x64') => ({
  [`@posttrain/onnxruntime-${name}/package.json`]: { exports: { './library': `./${file}` } },
  [`@posttrain/onnxruntime-${name}/${file}`]: 'library',
});
const onnxruntimeNode = (version: string, ...more: string[]) => ({
  'onnxruntime-node/package.json': { version },
  [OTHER]: 'library',
  ...Object.fromEntries(more.map((file) => [join(dirname(OTHER), file), 'library'])),
});

function locate(host: Partial<LibraryHost> = {}): string {
  const require = createRequire(join(app, 'index.js'));
  const resolve = (specifier: string) => {
    const file = require.resolve(specifier);
    // NODE_PATH leads into this workspace.
    if (!file.startsWith(app)) throw new Error(`${specifier} is not in the app`);
    return file;
  };
  const { path, root } = locateLibrary({ ...LINUX, isMusl: () => false, resolve, read: require, ...host });
  expect(existsSync(join(root, 'package.json'))).toBe(true);
  return relative(join(app, 'node_modules'), path).replaceAll('\\', '/');
}

describe('locateLibrary', () => {
  it.each([
    ['linux', 'x64', 'libonnxruntime.so.1'],
    ['darwin', 'arm64', 'libonnxruntime.1.dylib'],
    ['win32', 'x64', 'onnxruntime.dll'],
  ])('takes the package of %s-%s', (platform, arch, file) => {
    install(platformPackage(file, `${platform}-${arch}`));
    expect(locate({ platform, arch })).toBe(`@posttrain/onnxruntime-${platform}-${arch}/${file}`);
  });

  it.each([
    ['1.19.0', [], OWN],
    ['9.9.9', [], OWN],
    [ONNXRUNTIME_VERSION, [CUDA_PROVIDER], OTHER],
    ['1.100.0-dev.20270101', [CUDA_PROVIDER], OTHER],
    ['1.9.9', [CUDA_PROVIDER], OWN],
  ])('beside onnxruntime-node %s with %j takes %s', (version, more, expected) => {
    install({ ...platformPackage(), ...onnxruntimeNode(version, ...more) });
    expect(locate()).toBe(expected);
  });

  it('falls back to onnxruntime-node', () => {
    install({ ...onnxruntimeNode('1.24.0'), '@posttrain/onnxruntime-linux-x64/package.json': { exports: {} } });
    expect(locate()).toBe(OTHER);
  });

  it.each<[string, Partial<LibraryHost>, RegExp]>([
    [
      'that is left out',
      {},
      new RegExp(
        `--omit=optional.*npm install @posttrain/onnxruntime-linux-x64@${ONNXRUNTIME_VERSION.replaceAll('.', '\\.')}`,
      ),
    ],
    ['of a platform without one', { platform: 'freebsd' }, /no library for freebsd-x64, only for .*linux-x64.*tfjs/],
    ['of an architecture without one', { arch: 'ia32' }, /no library for linux-ia32/],
    ['of musl', { isMusl: () => true }, /musl \(Alpine\)/],
  ])('says what to do for want of the package %s', (_, host, message) => {
    expect(() => locate(host)).toThrow(EngineError);
    expect(() => locate(host)).toThrow(message);
    install({ 'onnxruntime-node/package.json': { version: '1.30.0' } });
    expect(() => locate(host)).toThrow(message);
  });
});

it('loads here the version that is named, for which there are packages', async () => {
  const { version } = await loadOnnxruntime();
  expect(version).toBe(ONNXRUNTIME_VERSION);
  const manifest = new URL('../../../../package.json', import.meta.url);
  const { optionalDependencies } = JSON.parse(readFileSync(manifest, 'utf8')) as { optionalDependencies: object };
  const packages = ['kernels', 'onnxruntime'].flatMap((kind) =>
    ONNXRUNTIME_PLATFORMS.map((platform) => `@posttrain/${kind}-${platform}`),
  );
  expect(Object.keys(optionalDependencies)).toEqual(packages);
});
