import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { Decompress } from 'fzstd';
import { EvaluationError } from '../errors.js';

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
/** 1 January 1980, the earliest that the format has: the same files give the same archive. */
const DATE = 0x21;
const STORED = 0;
const DEFLATE = 8;
const ZSTD = 93;
const MOST = 0xffffffff;

/** A file of an archive. */
export interface ZipFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A ZIP archive of files, deflated. @throws EvaluationError `LOG_TOO_LARGE` for 4 GiB or 65,535 files, which need another form */
export function writeZip(files: readonly ZipFile[]): Uint8Array {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, bytes } of files) {
    const named = Buffer.from(name, 'utf8');
    const packed = deflateRawSync(bytes);
    const head = Buffer.alloc(26);
    head.writeUInt16LE(20, 0);
    head.writeUInt16LE(0x800, 2);
    head.writeUInt16LE(DEFLATE, 4);
    head.writeUInt16LE(DATE, 8);
    head.writeUInt32LE(crc32(bytes), 10);
    head.writeUInt32LE(packed.length, 14);
    head.writeUInt32LE(bytes.length, 18);
    head.writeUInt16LE(named.length, 22);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(CENTRAL, 0);
    entry.writeUInt16LE(20, 4);
    head.copy(entry, 6);
    entry.writeUInt32LE(offset, 42);
    const local = Buffer.alloc(4);
    local.writeUInt32LE(LOCAL, 0);
    parts.push(local, head, named, packed);
    directory.push(entry, named);
    offset += 30 + named.length + packed.length;
    if (offset > MOST || files.length >= 0xffff) {
      throw new EvaluationError(
        'LOG_TOO_LARGE',
        'the archive would have 4 GiB or 65,535 files, which is not supported; write .json.',
      );
    }
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(END, 0);
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

/**
 * The files of a ZIP archive by name, each read when it is asked for; its checksum is checked. Stored, deflated and zstd.
 *
 * @throws EvaluationError `LOG_MALFORMED`, which names the file, for what is no archive, is cut off or damaged, or is of a form that is not supported
 * (encryption, ZIP64, other compressions)
 */
export function readZip(archive: Uint8Array, where: string): ReadonlyMap<string, () => Uint8Array> {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  const wrong = (problem: string) => new EvaluationError('LOG_MALFORMED', `${where}: ${problem}`);
  let end = bytes.length - 22;
  while (end >= 0 && end >= bytes.length - 22 - 0xffff && bytes.readUInt32LE(end) !== END) end--;
  if (end < 0 || bytes.length < 22 || bytes.readUInt32LE(end) !== END)
    throw wrong('it is no ZIP archive, or it was cut off.');
  const count = bytes.readUInt16LE(end + 10);
  let at = bytes.readUInt32LE(end + 16);
  if (count === 0xffff || at === MOST) throw wrong('archives in ZIP64 are not supported; convert it to .json.');
  const files = new Map<string, () => Uint8Array>();
  for (let i = 0; i < count; i++) {
    if (at + 46 > end || bytes.readUInt32LE(at) !== CENTRAL) throw wrong(`entry ${i} of its directory is damaged.`);
    const flags = bytes.readUInt16LE(at + 8);
    const method = bytes.readUInt16LE(at + 10);
    const [sum, packed, size] = [16, 20, 24].map((field) => bytes.readUInt32LE(at + field)) as [number, number, number];
    const nameLength = bytes.readUInt16LE(at + 28);
    const local = bytes.readUInt32LE(at + 42);
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    files.set(name, () => {
      if ((flags & 1) !== 0) throw wrong(`${name} is encrypted.`);
      if (local + 30 > bytes.length || bytes.readUInt32LE(local) !== LOCAL) throw wrong(`${name} is damaged.`);
      const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
      if (start + packed > bytes.length) throw wrong(`${name} was cut off.`);
      const content = unpacked(bytes.subarray(start, start + packed), method, size);
      if (content === undefined) throw wrong(`${name} has the compression ${method}, which is not supported.`);
      if (content === null || content.length !== size || crc32(content) !== sum) throw wrong(`${name} is damaged.`);
      return content;
    });
    at += 46 + nameLength + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
  }
  return files;
}

/** `null` where it is damaged, `undefined` for a method that is not known. Never more than `size` bytes. */
function unpacked(bytes: Uint8Array, method: number, size: number): Uint8Array | null | undefined {
  if (method === STORED) return bytes;
  try {
    // A deflated byte becomes 1032 at most, so that a size that lies takes no memory.
    if (method === DEFLATE)
      return size > 1032 * bytes.length + 64 ? null : inflateRawSync(bytes, { maxOutputLength: Math.max(1, size) });
    if (method === ZSTD) return unpackedZstd(bytes, size);
    return undefined;
  } catch {
    return null;
  }
}

function unpackedZstd(bytes: Uint8Array, size: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  const stream = new Decompress((part) => {
    length += part.length;
    if (length > size) throw new RangeError('longer than its header says');
    parts.push(part.slice());
  });
  stream.push(bytes, true);
  return Buffer.concat(parts);
}
