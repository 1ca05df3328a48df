import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A file of machine code. */
export interface NativeFile {
  readonly path: string;
  /** As `process.platform` and `process.arch`, joined by a hyphen. */
  readonly platform: string;
  readonly bytes: number;
}

const text = /\.(?:[cm]?[jt]s|map|json|md|html|css|txt|wasm|safetensors|h|cc|inc)$/;

/** The files of machine code in a folder, by their content and not their names. */
export function listNativeFiles(folder: string): NativeFile[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !text.test(entry.name))
    .flatMap((entry) => {
      const path = join(entry.parentPath, entry.name);
      const platform = platformOf(path);
      return platform === undefined ? [] : [{ path, platform, bytes: statSync(path).size }];
    });
}

/** The platform that a file is machine code for; undefined when it is something else. */
export function platformOf(file: string): string | undefined {
  const head = Buffer.alloc(4096);
  const handle = openSync(file, 'r');
  const length = readSync(handle, head, 0, head.length, 0);
  closeSync(handle);
  return length < 64 ? undefined : platformOfHead(head);
}

const ELF_MACHINES: Readonly<Record<number, string>> = { 3: 'ia32', 40: 'arm', 62: 'x64', 183: 'arm64' };
const PE_MACHINES: Readonly<Record<number, string>> = { 332: 'ia32', 34404: 'x64', 43620: 'arm64' };
const MACH_MACHINES: Readonly<Record<number, string>> = { 16777223: 'x64', 16777228: 'arm64' };

function platformOfHead(head: Buffer): string | undefined {
  if (head.readUInt32BE(0) === 0x7f454c46) return `linux-${ELF_MACHINES[head.readUInt16LE(18)] ?? 'other'}`;
  if (head.readUInt32LE(0) === 0xfeedfacf) return `darwin-${MACH_MACHINES[head.readUInt32LE(4)] ?? 'other'}`;
  if (head.toString('latin1', 0, 2) !== 'MZ') return undefined;
  const start = head.readUInt32LE(0x3c);
  if (start + 6 > head.length || head.toString('latin1', start, start + 2) !== 'PE') return undefined;
  return `win32-${PE_MACHINES[head.readUInt16LE(start + 4)] ?? 'other'}`;
}
