import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ProgressEvent } from '@posttrain/interfaces';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { importHub } from '../../src/hub/download-snapshot.js';
import {
  CausalLM,
  DownloadError,
  defaultCacheDir,
  downloadDataset,
  downloadModel,
  MissingPackageError,
  ModelAccessError,
  ModelNotFoundError,
  NotInCacheError,
  resolveModelFolder,
} from '../../src/index.js';
import { goldenFolder } from '../support.js';
import { COMMIT, FakeHub } from './fake-hub.js';

const NAME = 'some-org/tiny-model';
const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3));
const weightsHash = createHash('sha256').update(weights).digest('hex');

let hub: FakeHub;
let cacheDir: string;
let folder: string;
beforeEach(async () => {
  vi.stubEnv('HF_TOKEN', undefined);
  vi.stubEnv('HF_HUB_OFFLINE', undefined);
  hub = new FakeHub(NAME, {
    'config.json': { content: Buffer.from('{"model_type": "llama"}') },
    'tokenizer.json': { content: Buffer.from('{}') },
    'chat_template.jinja': { content: Buffer.from('') },
    'additional_chat_templates/rag.jinja': { content: Buffer.from('rag') },
    '1_Pooling/config.json': { content: Buffer.from('{}') },
    'model.safetensors': { content: weights, lfs: true },
    'consolidated.safetensors': { content: weights, lfs: true },
    'pytorch_model.bin': { content: Buffer.from('pickle'), lfs: true },
    'tokenizer.model': { content: Buffer.from('model') },
    'onnx/config.json': { content: Buffer.from('{}') },
    'README.md': { content: Buffer.from('# Tiny') },
  });
  await hub.start();
  cacheDir = mkdtempSync(join(tmpdir(), 'hub-'));
  folder = join(cacheDir, 'models--some-org--tiny-model');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
  rmSync(cacheDir, { recursive: true });
});
const download = (options: object = {}) => downloadModel(NAME, { cacheDir, endpoint: hub.endpoint, ...options });

describe('downloadModel', () => {
  it('fills the shared cache layout with what is needed and nothing else', async () => {
    const snapshot = await download();
    expect(snapshot).toBe(join(folder, 'snapshots', COMMIT));
    expect(readdirSync(snapshot).sort()).toEqual([
      '1_Pooling',
      'additional_chat_templates',
      'chat_template.jinja',
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    expect(readFileSync(join(snapshot, 'model.safetensors')).equals(weights)).toBe(true);
    expect(readFileSync(join(snapshot, '1_Pooling', 'config.json'), 'utf8')).toBe('{}');
    expect(readFileSync(join(snapshot, 'additional_chat_templates', 'rag.jinja'), 'utf8')).toBe('rag');
    expect(lstatSync(join(snapshot, 'model.safetensors')).isSymbolicLink()).toBe(true);
    expect(readlinkSync(join(snapshot, 'model.safetensors'))).toBe(join('..', '..', 'blobs', weightsHash));
    expect(readFileSync(join(folder, 'refs', 'main'), 'utf8')).toBe(COMMIT);
    expect(readdirSync(join(folder, 'blobs')).filter((name) => name.includes('.'))).toEqual([]);
  });

  it('asks nothing twice, and restores a link that is gone', async () => {
    const snapshot = await download();
    rmSync(join(snapshot, 'config.json'));
    hub.requests.length = 0;
    expect(await download()).toBe(snapshot);
    expect(hub.requests.filter(({ path }) => path.includes('/resolve/'))).toEqual([]);
    expect(existsSync(join(snapshot, 'config.json'))).toBe(true);
  });

  it('reports bytes to the end', async () => {
    const events: ProgressEvent[] = [];
    await download({ onProgress: (event: ProgressEvent) => events.push(event) });
    const { done, total, stage } = events.at(-1)!;
    expect(stage).toBe(`download ${NAME}`);
    expect(done).toBe(total);
    expect(total).toBeGreaterThan(weights.length);
    for (const [i, event] of events.entries()) expect(event.done).toBeGreaterThanOrEqual(events[i - 1]?.done ?? 0);
  });

  it('a revision with slashes, and a token', async () => {
    hub.requiredToken = 'hf_secret';
    const snapshot = await download({ revision: 'refs/pr/1', token: 'hf_secret' });
    expect(readFileSync(join(folder, 'refs', 'refs', 'pr', '1'), 'utf8')).toBe(COMMIT);
    expect(existsSync(snapshot)).toBe(true);
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    expect(await download()).toBe(snapshot);
  });

  it('resumes within a call when the connection drops', async () => {
    hub.faults['model.safetensors'] = { dropAfter: 100_000, drops: 2 };
    const snapshot = await download();
    expect(readFileSync(join(snapshot, 'model.safetensors')).equals(weights)).toBe(true);
    const [first, second, third] = hub.downloads('model.safetensors');
    expect(first).toBe('whole');
    expect(second).toMatch(/^bytes=[1-9]\d*-299999$/);
    expect(third).toMatch(/^bytes=[1-9]\d*-299999$/);
  });

  it('resumes in the next call when every attempt dropped', async () => {
    hub.faults['model.safetensors'] = { dropAfter: 50_000, drops: 3 };
    await expect(download()).rejects.toThrow(DownloadError);
    expect(existsSync(join(folder, 'blobs', `${weightsHash}.incomplete`))).toBe(true);
    expect(existsSync(join(folder, 'blobs', weightsHash))).toBe(false);
    expect(existsSync(join(folder, 'refs'))).toBe(false);
    hub.requests.length = 0;
    const snapshot = await download();
    expect(hub.downloads('model.safetensors')).toEqual([expect.stringMatching(/^bytes=[1-9]/)]);
    expect(readFileSync(join(snapshot, 'model.safetensors')).equals(weights)).toBe(true);
  });

  it('a server that ignores ranges cannot corrupt the file', async () => {
    hub.faults['model.safetensors'] = { dropAfter: 100_000, drops: 1, ignoreRange: true };
    await expect(download()).rejects.toThrow(/not what the hub announced.*discarded/);
    const snapshot = await download();
    expect(readFileSync(join(snapshot, 'model.safetensors')).equals(weights)).toBe(true);
  });

  it('an overlong partial file is started anew', async () => {
    await download();
    rmSync(join(folder, 'blobs', weightsHash));
    writeFileSync(join(folder, 'blobs', `${weightsHash}.incomplete`), Buffer.alloc(400_000));
    const snapshot = await download();
    expect(readFileSync(join(snapshot, 'model.safetensors')).equals(weights)).toBe(true);
  });

  it.each([
    ['other bytes in an LFS file', 'model.safetensors', Buffer.alloc(weights.length)],
    ['other bytes in a git file', 'config.json', Buffer.from('{"model_type": "gemma"}')],
    ['more bytes', 'model.safetensors', Buffer.alloc(weights.length + 9)],
  ])('discards %s', async (_, path, content) => {
    hub.faults[path] = { content };
    await expect(download()).rejects.toThrow(/not what the hub announced/);
    expect(existsSync(join(folder, 'refs'))).toBe(false);
    expect(readdirSync(join(folder, 'blobs')).filter((name) => name.endsWith('.incomplete'))).toEqual([]);
  });

  it('fewer bytes than announced', async () => {
    hub.faults['model.safetensors'] = { content: weights.subarray(0, 1000) };
    await expect(download()).rejects.toThrow(/after 1000 of 300000 bytes/);
  });

  it('says what to do when refused', async () => {
    await expect(downloadModel('some-org/none', { cacheDir, endpoint: hub.endpoint })).rejects.toThrow(
      ModelNotFoundError,
    );
    await expect(download({ revision: 'v9' })).rejects.toThrow(/no model.*revision "v9"/);
    hub.requiredToken = 'hf_secret';
    await expect(download()).rejects.toThrow(ModelAccessError);
    await expect(download()).rejects.toThrow(/terms.*HF_TOKEN/);
    hub.gatedStatus = 403;
    await expect(download({ token: 'hf_other' })).rejects.toThrow(/status 403.*same account/);
    expect(existsSync(folder)).toBe(false);
  });

  it('server errors, odd answers, and no server', async () => {
    hub.faults['config.json'] = { status: 500 };
    await expect(download()).rejects.toThrow(/status 500/);
    hub.faults['config.json'] = { status: 403 };
    await expect(download()).rejects.toThrow(ModelAccessError);
    hub.sha = '../../etc';
    await expect(download()).rejects.toThrow(/no commit for "main"/);
    hub.sha = COMMIT;
    delete hub.files['model.safetensors'];
    delete hub.files['consolidated.safetensors'];
    await expect(download()).rejects.toThrow(/no \*\.safetensors/);
    await hub.stop();
    await expect(download()).rejects.toThrow(/cannot be reached.*HF_HUB_OFFLINE/);
    await hub.start();
  });

  it('refuses names and revisions that leave the cache, and unknown options', async () => {
    const names = ['../x', 'a/b/c', 'a/..', '', 'a b', '-x/y', '.hidden/x', 'a\0/b', 'a%2f..'];
    for (const name of names) {
      await expect(downloadModel(name, { cacheDir, offline: true })).rejects.toThrow(/not the name of a model/);
    }
    for (const revision of ['../../x', 'a\0b', '', 'refs/../x']) {
      await expect(download({ revision })).rejects.toThrow(/not the name of a branch/);
    }
    await expect(download({ revison: 'main' })).rejects.toThrow(/"revision"/);
  });
});

describe('offline', () => {
  it('uses the cache and asks nobody', async () => {
    await expect(download({ offline: true })).rejects.toThrow(NotInCacheError);
    const snapshot = await download();
    hub.requests.length = 0;
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await download()).toBe(snapshot);
    expect(await download({ revision: COMMIT })).toBe(snapshot);
    expect(hub.requests).toEqual([]);
    rmSync(join(snapshot, 'model.safetensors'));
    await expect(download()).rejects.toThrow(/lacks model\.safetensors/);
    const index = { weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } };
    writeFileSync(join(snapshot, 'model.safetensors.index.json'), JSON.stringify(index));
    writeFileSync(join(snapshot, 'model-00001-of-00002.safetensors'), '');
    await expect(download()).rejects.toThrow(/lacks model-00002-of-00002\.safetensors/);
  });
});

describe('GGUF files', () => {
  const gguf = readFileSync(join(goldenFolder('gguf'), 'smollm2.gguf'));
  const addGguf = () => {
    hub.files['Tiny-Q8_0.gguf'] = { content: gguf, lfs: true };
    hub.files['Tiny-Q4_K_M.gguf'] = { content: Buffer.from('another'), lfs: true };
    hub.files['old/tiny.f16.gguf'] = { content: gguf, lfs: true };
    hub.files['mmproj-F16.gguf'] = { content: Buffer.from('images'), lfs: true };
  };

  it.each([
    [`${NAME}:Q8_0`, {}, 'Tiny-Q8_0.gguf'],
    [`${NAME}:q4_k_m`, {}, 'Tiny-Q4_K_M.gguf'],
    [`${NAME}:F16`, {}, 'old/tiny.f16.gguf'],
    [NAME, { ggufFile: 'Tiny-Q8_0.gguf' }, 'Tiny-Q8_0.gguf'],
    [NAME, { ggufFile: 'old/tiny.f16.gguf' }, 'old/tiny.f16.gguf'],
  ])('%s %j is one file, offline too', async (name, options, file) => {
    addGguf();
    const common = { cacheDir, endpoint: hub.endpoint, ...options };
    const path = await downloadModel(name, common);
    expect(path).toBe(join(folder, 'snapshots', COMMIT, file));
    expect(readFileSync(path).equals(hub.files[file]!.content)).toBe(true);
    expect(readdirSync(join(folder, 'blobs'))).toHaveLength(1);
    hub.requests.length = 0;
    expect(await downloadModel(name, { ...common, offline: true })).toBe(path);
    expect(hub.requests).toEqual([]);
    await expect(download({ offline: true })).rejects.toThrow(/lacks config\.json/);
  });

  it('is loaded as a model', async () => {
    addGguf();
    const model = await CausalLM.fromPretrained(`${NAME}:Q8_0`, { cacheDir, endpoint: hub.endpoint });
    expect(model.config.modelType).toBe('llama');
    expect(model.name).toMatch(/Tiny-Q8_0\.gguf$/);
  });

  it('says which there are', async () => {
    addGguf();
    hub.files['b/Other-Q8_0.gguf'] = { content: gguf, lfs: true };
    const cases: readonly [string, object, RegExp][] = [
      [`${NAME}:Q5_0`, {}, /no file of the quantisation "Q5_0".*Tiny-Q4_K_M\.gguf, Tiny-Q8_0\.gguf/],
      [`${NAME}:Q8_0`, {}, /more than one file of the quantisation "Q8_0"/],
      [NAME, { ggufFile: 'x.gguf' }, /no file x\.gguf.*Tiny-Q8_0\.gguf/],
      [`${NAME}:Q8_0`, { ggufFile: 'x.gguf' }, /after the colon, or ggufFile/],
      [`${NAME}:Q8_0`, { offline: true }, /cannot be used offline/],
    ];
    for (const [name, options, message] of cases) {
      await expect(downloadModel(name, { cacheDir, endpoint: hub.endpoint, ...options })).rejects.toThrow(message);
    }
    delete hub.files['model.safetensors'];
    delete hub.files['consolidated.safetensors'];
    await expect(download()).rejects.toThrow(/name a GGUF file with ggufFile.*Tiny-Q8_0\.gguf/);
    expect(existsSync(join(folder, 'refs'))).toBe(false);
  });

  it('of a local folder', async () => {
    writeFileSync(join(cacheDir, 'a.gguf'), gguf);
    expect(await resolveModelFolder(cacheDir, { ggufFile: 'a.gguf' })).toBe(join(cacheDir, 'a.gguf'));
    await expect(resolveModelFolder(cacheDir, { ggufFile: 'b.gguf' })).rejects.toThrow(/no such folder or GGUF file/);
  });

  it('a path that leaves the snapshot is not taken', async () => {
    hub.files['../../evil-Q8_0.gguf'] = { content: gguf, lfs: true };
    const options = { cacheDir, endpoint: hub.endpoint };
    await expect(downloadModel(`${NAME}:Q8_0`, options)).rejects.toThrow(/has no GGUF file/);
    await expect(download({ ggufFile: '../../evil-Q8_0.gguf' })).rejects.toThrow(/has no GGUF file/);
  });
});

it('the cache is where the other libraries have it', () => {
  expect(defaultCacheDir({ HF_HUB_CACHE: '/c', HF_HOME: '/h' })).toBe('/c');
  expect(defaultCacheDir({ HF_HOME: '/h' })).toBe(join('/h', 'hub'));
  expect(defaultCacheDir({ XDG_CACHE_HOME: '/x' })).toBe(join('/x', 'huggingface', 'hub'));
  expect(defaultCacheDir({})).toMatch(/\.cache.huggingface.hub$/);
});

it('a folder is taken as it is', async () => {
  expect(await resolveModelFolder(cacheDir)).toBe(cacheDir);
  await expect(resolveModelFolder(join(cacheDir, 'none'))).rejects.toThrow(/no such folder/);
  const snapshot = await resolveModelFolder(NAME, { cacheDir, endpoint: hub.endpoint });
  expect(existsSync(join(snapshot, 'config.json'))).toBe(true);
});

it('names the package to install', async () => {
  const missing = () => Promise.reject(Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' }));
  await expect(importHub(missing)).rejects.toThrow(MissingPackageError);
  await expect(importHub(missing)).rejects.toThrow(/npm install @huggingface\/hub/);
});

describe('downloadDataset', () => {
  it('fills the shared cache with the files of rows, and says what there is where there are none', async () => {
    const rows = Buffer.from('{"text":"one"}\n');
    hub.files['data/train-00000-of-00001.jsonl'] = { content: rows, lfs: true };
    hub.files['data/test.csv'] = { content: Buffer.from('text\none\n') };
    const files = (path: string) => path.startsWith('data/');
    const snapshot = await downloadDataset(NAME, { cacheDir, endpoint: hub.endpoint, files });
    expect(snapshot).toBe(join(cacheDir, 'datasets--some-org--tiny-model', 'snapshots', COMMIT));
    expect(readdirSync(join(snapshot, 'data')).sort()).toEqual(['test.csv', 'train-00000-of-00001.jsonl']);
    expect(readFileSync(join(snapshot, 'data/train-00000-of-00001.jsonl'))).toEqual(rows);
    expect(hub.requests.every(({ path }) => path.includes('/datasets/') || path.startsWith('/cdn/'))).toBe(true);
    hub.requests.length = 0;
    expect(await downloadDataset(NAME, { cacheDir, offline: true })).toBe(snapshot);
    expect(hub.requests).toEqual([]);
    const none = downloadDataset(NAME, { cacheDir, endpoint: hub.endpoint, files: () => false });
    await expect(none).rejects.toThrow(/has no files of rows that are wanted; there are 1_Pooling/);
    const unknown = downloadDataset('some-org/other', { cacheDir, endpoint: hub.endpoint });
    await expect(unknown).rejects.toThrow(/The hub has no data set "some-org\/other"/);
    await expect(downloadDataset('a/b/c', { cacheDir })).rejects.toThrow(/is not the name of a data set/);
  });
});
