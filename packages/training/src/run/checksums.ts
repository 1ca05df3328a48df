import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '@posttrain/interfaces/node';

export const CHECKSUMS = 'checksums.json';

interface FileDigest {
  readonly bytes: number;
  readonly sha256: string;
}

/** checksums.json: every file of a folder, and a digest of the list itself. */
interface Manifest {
  readonly files: Readonly<Record<string, FileDigest>>;
  readonly sha256: string;
}

/** Writes checksums.json for the files that are in a folder. */
export async function writeChecksums(folder: string): Promise<void> {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name !== CHECKSUMS)
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll('\\', '/'),
    )
    .sort();
  const files: Record<string, FileDigest> = {};
  for (const name of names) files[name] = await digestOfFile(join(folder, name));
  const manifest: Manifest = { files, sha256: digestOfList(files) };
  const bytes = new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`);
  await writeAtomically((staged) => staged.stage(join(folder, CHECKSUMS), (write) => write(bytes)));
}

/** What is wrong with the files of a folder; undefined when each is as it was written. `none`: it has no checksums.json. */
export async function checkFiles(folder: string): Promise<string | undefined> {
  let manifest: Manifest | null;
  try {
    manifest = JSON.parse(await readFile(join(folder, CHECKSUMS), 'utf8')) as Manifest | null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'none' : `${CHECKSUMS} is damaged`;
  }
  if (typeof manifest?.files !== 'object' || digestOfList(manifest.files) !== manifest.sha256) {
    return `${CHECKSUMS} is damaged`;
  }
  for (const [name, { bytes, sha256 }] of Object.entries(manifest.files)) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (!found) return `${name} is missing`;
    if (found.size !== bytes) return `${name} has ${found.size} bytes, not ${bytes}`;
    if ((await digestOfFile(path)).sha256 !== sha256)
      return `${name} is damaged (another SHA-256 than when it was written)`;
  }
  return undefined;
}

const digestOfList = (files: Manifest['files']): string =>
  createHash('sha256').update(JSON.stringify(files)).digest('hex');

async function digestOfFile(path: string): Promise<FileDigest> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return { bytes, sha256: hash.digest('hex') };
}
