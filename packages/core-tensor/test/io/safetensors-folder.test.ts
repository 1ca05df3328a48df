import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { TensorToWrite } from '../../src/io/index.js';
import {
  InvalidHeaderError,
  InvalidTensorError,
  MissingShardError,
  MissingTensorError,
  openSafetensorsFolder,
  saveSafetensors,
  writeSafetensors,
} from '../../src/io/index.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'safetensors-folder-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const tensor = (name: string, ...values: number[]): TensorToWrite => ({
  name,
  dtype: 'float32',
  shape: [values.length],
  data: Float32Array.from(values),
});
const three = [tensor('a', 1, 2), tensor('b', 3), tensor('c', 4, 5, 6)];
const indexPath = () => join(folder, 'model.safetensors.index.json');

it('one file when it fits, shards and an index when not, and no file of an earlier save', async () => {
  expect(await saveSafetensors(folder, three)).toEqual(['model.safetensors']);
  const files = await saveSafetensors(folder, three, { maxShardBytes: 12 });
  expect(files).toEqual([
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
  ]);
  expect(readdirSync(folder).sort()).toEqual(files);
  expect(JSON.parse(readFileSync(indexPath(), 'utf8'))).toEqual({
    metadata: { total_size: 24 },
    weight_map: { a: files[0], b: files[0], c: files[1] },
  });
  const source = await openSafetensorsFolder(folder);
  expect([...source.tensors.keys()]).toEqual(['a', 'b', 'c']);
  for (const { name, dtype, shape, data } of three) expect(await source.read(name)).toEqual({ dtype, shape, data });
  await expect(source.read('d')).rejects.toThrow(MissingTensorError);
  await source.close();
  writeFileSync(join(folder, 'model-card.safetensors'), 'not ours');
  await saveSafetensors(folder, three);
  expect(readdirSync(folder).sort()).toEqual(['model-card.safetensors', 'model.safetensors']);
});

it('a tensor larger than the limit gets its own shard', async () => {
  const files = await saveSafetensors(folder, three, { maxShardBytes: 1, baseName: 'adapter_model' });
  expect(files).toHaveLength(4);
  const source = await openSafetensorsFolder(folder, { baseName: 'adapter_model' });
  expect((await source.read('c')).data).toEqual(Float32Array.of(4, 5, 6));
  await source.close();
  await expect(saveSafetensors(folder, three, { maxShardBytes: 0 })).rejects.toThrow(InvalidTensorError);
});

it('a disk full in the second shard leaves the earlier save whole', async () => {
  await saveSafetensors(folder, three);
  const before = readFileSync(join(folder, 'model.safetensors'));
  let writes = 0;
  const full = async () => {
    if (++writes === 5) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  };
  await expect(saveSafetensors(folder, three, { maxShardBytes: 12 }, full)).rejects.toThrow(
    /model-00002-of-00002.safetensors: cannot be written \(ENOSPC\)/,
  );
  expect(writes).toBe(5);
  expect(readdirSync(folder)).toEqual(['model.safetensors']);
  expect(readFileSync(join(folder, 'model.safetensors')).equals(before)).toBe(true);
});

it('names what is missing or malformed', async () => {
  await expect(openSafetensorsFolder(folder)).rejects.toThrow(/neither model.safetensors nor/);
  await saveSafetensors(folder, three, { maxShardBytes: 12 });
  const index = JSON.parse(readFileSync(indexPath(), 'utf8'));

  writeFileSync(indexPath(), JSON.stringify({ ...index, weight_map: { ...index.weight_map, d: index.weight_map.a } }));
  await expect(openSafetensorsFolder(folder)).rejects.toThrow(MissingTensorError);

  writeFileSync(indexPath(), JSON.stringify({ weight_map: { a: '../outside.safetensors' } }));
  await expect(openSafetensorsFolder(folder)).rejects.toThrow(InvalidHeaderError);
  writeFileSync(indexPath(), JSON.stringify({ metadata: {} }));
  await expect(openSafetensorsFolder(folder)).rejects.toThrow(/weight_map/);
  writeFileSync(indexPath(), 'null');
  await expect(openSafetensorsFolder(folder)).rejects.toThrow(InvalidHeaderError);
  writeFileSync(indexPath(), '{');
  await expect(openSafetensorsFolder(folder)).rejects.toThrow(/not JSON/);

  writeFileSync(indexPath(), JSON.stringify(index));
  rmSync(join(folder, 'model-00002-of-00002.safetensors'));
  await expect(openSafetensorsFolder(folder)).rejects.toThrow(MissingShardError);
  await expect(openSafetensorsFolder(folder)).rejects.toThrow(/model-00002-of-00002/);
});

it('keeps a tensor that the index forgot', async () => {
  await writeSafetensors(join(folder, 'part.safetensors'), three);
  writeFileSync(indexPath(), JSON.stringify({ weight_map: { a: 'part.safetensors' } }));
  const source = await openSafetensorsFolder(folder);
  expect((await source.read('b')).data).toEqual(Float32Array.of(3));
  await source.close();
});

it('a tensor that two shards have is read where they agree, and refused where they do not', async () => {
  const files = await saveSafetensors(folder, three, { maxShardBytes: 12 });
  const again = (...values: number[]) => writeSafetensors(join(folder, files[1]!), [three[2]!, tensor('b', ...values)]);
  await again(3);
  const same = await openSafetensorsFolder(folder);
  expect((await same.read('b')).data).toEqual(Float32Array.of(3));
  await same.close();
  for (const values of [[4], [3, 3]]) {
    await again(...values);
    const other = await openSafetensorsFolder(folder);
    await expect(other.read('b')).rejects.toThrow(/index\.json: tensor "b" is in two shards with different values/);
    expect((await other.read('c')).data).toEqual(three[2]!.data);
    await other.close();
  }
});
