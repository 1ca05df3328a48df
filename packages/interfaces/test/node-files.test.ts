import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countChanges, failingAt, killedAt } from '../../../testing/crash.js';
import {
  completeSave,
  FileError,
  makeFolder,
  removeAbandoned,
  temporaryName,
  writeAtomically,
} from '../src/node/index.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'files-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const bytes = (text: string) => new TextEncoder().encode(text);

/** A save of all kinds: files, a folder of files, a folder in it, and something that goes. */
const save = (version: string, stale: string) =>
  writeAtomically(async (files) => {
    for (const name of ['a', 'b']) await files.stage(join(folder, name), (write) => write(bytes(name + version)));
    const staging = await files.stageFolder(folder);
    await writeFile(join(staging, 'c'), `c${version}`);
    await mkdir(join(staging, 'inner'));
    await writeFile(join(staging, 'inner/d'), `d${version}`);
    await files.stage(join(folder, `only-${version}`), (write) => write(bytes('')));
    files.remove(join(folder, `only-${stale}`));
  });

const OLD = { a: 'a1', b: 'b1', c: 'c1', 'inner/d': 'd1', 'only-1': '' };
const NEW = { a: 'a2', b: 'b2', c: 'c2', 'inner/d': 'd2', 'only-2': '' };

/** The files that a reader finds. */
async function visible(): Promise<Record<string, string>> {
  await completeSave(folder);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  const shown = paths.filter((path) => !path.startsWith('.')).sort();
  return Object.fromEntries(
    await Promise.all(shown.map(async (path) => [path, await readFile(join(folder, path), 'utf8')])),
  );
}

const begin = async () => {
  await rm(folder, { recursive: true });
  await save('1', '0');
};

describe('a save of several files', () => {
  it('is found as it was or as it is to be, wherever the process is killed', async () => {
    await begin();
    const points = await countChanges(() => save('2', '1'));
    expect(await visible()).toEqual(NEW);
    const found: string[] = [];
    for (let at = 0; at < points; at++) {
      await begin();
      await killedAt(at, () => save('2', '1'));
      const files = await visible();
      expect([OLD, NEW], `killed before change ${at}`).toContainEqual(files);
      found.push(files.a === 'a1' ? 'old' : 'new');
      // Also when the recovery itself is killed, and when the next save comes first.
      await begin();
      await killedAt(at, () => save('2', '1'));
      await killedAt(1, () => completeSave(folder));
      await save('1', '2');
      expect(await visible(), `saved again after ${at}`).toEqual(OLD);
    }
    expect(new Set(found)).toEqual(new Set(['old', 'new']));
  });

  it('that fails anywhere leaves no mixture', async () => {
    await begin();
    const points = await countChanges(() => save('2', '1'));
    for (let at = 0; at < points; at++) {
      await begin();
      await failingAt(at, 'ENOSPC', () => save('2', '1')).catch((error: unknown) => {
        expect(String(error), `change ${at}`).toMatch(/ENOSPC/);
      });
      expect([OLD, NEW], `change ${at}`).toContainEqual(await visible());
    }
  });

  it.each([
    ['ENOSPC', /disk is full: make room/],
    ['EROFS', /read-only: write to another folder/],
    ['EACCES', /Permission is denied: change/],
    ['EIO', /disk failed to write/],
  ])('that meets %s says which file, and what to do', async (code, remedy) => {
    await begin();
    for (const at of [1, 2, 3]) {
      const saving = failingAt(at, code, () => save('2', '1'));
      await expect(saving).rejects.toMatchObject({
        code: 'FILE',
        path: join(folder, 'a'),
        message: expect.stringMatching(remedy),
      });
      expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([]);
    }
  });

  it('removes what killed processes left, and only that', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    const own = temporaryName(folder, 'x');
    const dead = own.replace(`.${process.pid}.`, `.${child.pid}.`);
    const elsewhere = dead.replace(/\.([0-9a-f]{8})([0-9a-f]{8})\.tmp$/, '.00000000$2.tmp');
    for (const path of [own, dead, elsewhere, join(folder, '.x.tmp')]) await writeFile(path, '');
    await removeAbandoned(folder);
    const left = [own, elsewhere, join(folder, '.x.tmp')].map((path) => path.slice(folder.length + 1));
    expect((await readdir(folder)).sort()).toEqual(left.sort());
  });

  it('does nothing outside its folder, whatever a journal says', async () => {
    const { createHash } = await import('node:crypto');
    await writeFile(join(folder, 'kept'), '');
    const inner = join(folder, 'model');
    await mkdir(inner);
    const writer = { pid: 2 ** 22 + 1, host: (await import('node:os')).hostname(), began: null };
    for (const moves of [
      [{ from: '.x.tmp', to: '../kept' }],
      [{ from: '../kept', to: 'x' }],
      [{ from: 'a', to: '..' }],
    ]) {
      const json = JSON.stringify({ writer, removals: [], moves });
      await writeFile(
        join(inner, '.posttrain-save.json'),
        `${createHash('sha256').update(json).digest('hex')}\n${json}\n`,
      );
      await expect(completeSave(inner)).rejects.toMatchObject({ code: 'INTERRUPTED_SAVE' });
    }
    expect(await readdir(folder)).toEqual(['kept', 'model']);
  });
});

it('a folder that cannot be made is an error, and not a wait without end', async (context) => {
  if (process.platform !== 'linux') return context.skip('there is no /proc');
  const nowhere = '/proc/nope/run';
  await expect(makeFolder(nowhere)).rejects.toMatchObject({ code: 'FILE', message: expect.stringContaining(nowhere) });
  const write = writeAtomically((files) => files.stage(join(nowhere, 'a'), (put) => put(bytes('a'))));
  await expect(write).rejects.toBeInstanceOf(FileError);
});

it('makes a folder with those it lies in, again without an error, and none where a file is', async () => {
  const path = join(folder, 'a/b/c');
  await Promise.all([makeFolder(path), makeFolder(path), makeFolder(join(folder, 'a/b'))]);
  await makeFolder(path);
  expect((await stat(path)).isDirectory()).toBe(true);
  await writeFile(join(path, 'file'), '');
  await expect(makeFolder(join(path, 'file'))).rejects.toThrow(/EEXIST.*file where a folder is needed/);
  await expect(makeFolder(join(path, 'file/inside'))).rejects.toThrow(/ENOTDIR|EEXIST/);
});

it('what is refused leaves no folder that was made for it, but those that others have written into', async () => {
  const fails = (path: string, before = async () => {}) =>
    writeAtomically((files) =>
      files.stage(path, async (put) => {
        await put(bytes('a'));
        await before();
        throw new Error('refused');
      }),
    );
  await expect(fails(join(folder, 'new/inner/file'))).rejects.toThrow('refused');
  expect(await readdir(folder)).toEqual([]);
  const beside = () => writeFile(join(folder, 'new/theirs'), '');
  await expect(fails(join(folder, 'new/inner/file'), beside)).rejects.toThrow('refused');
  expect(await readdir(join(folder, 'new'))).toEqual(['theirs']);
  await expect(fails(join(folder, 'new/file'))).rejects.toThrow('refused');
  expect(await readdir(folder)).toEqual(['new']);
});

describe('a single file', () => {
  it('that is written again keeps its permissions', async () => {
    const path = join(folder, 'secret.json');
    const write = (text: string) =>
      writeAtomically((files) => files.stage(path, (bytes) => bytes(new TextEncoder().encode(text))));
    await write('one');
    await chmod(path, 0o600);
    await write('two');
    expect([await readFile(path, 'utf8'), (await stat(path)).mode & 0o777]).toEqual(['two', 0o600]);
  });

  it.each([
    ['a folder that is a file', 'file/x', /file\/x?.*part of the path is a file|file where a folder is needed/],
    ['a path that is a folder', 'folder', /folder: cannot be written .* There is a folder where a file is needed/],
  ])('%s is refused by name', async (_, path, message) => {
    await writeFile(join(folder, 'file'), 'kept');
    await mkdir(join(folder, 'folder/inside'), { recursive: true });
    const saving = writeAtomically((files) => files.stage(join(folder, path), (write) => write(bytes('x'))));
    await expect(saving).rejects.toThrow(message);
    await expect(saving).rejects.toBeInstanceOf(FileError);
    expect((await readdir(folder)).sort()).toEqual(['file', 'folder']);
    expect(await readFile(join(folder, 'file'), 'utf8')).toBe('kept');
  });
});
