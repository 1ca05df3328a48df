import type { Named } from '@posttrain/core-tensor/optim';
import { storedNumbers } from './file-tensors.js';

const [OFFSET, PRIME] = [0x811c9dc5, 0x01000193];

/**
 * What tells frozen tensors from others, as a part of an adapter's identity: FNV-1a over their names and bytes as files have them. Nothing
 * where there are none.
 */
export async function fingerprintOf(frozen: Named): Promise<{ readonly frozen?: string }> {
  const names = Object.keys(frozen).sort();
  if (names.length === 0) return {};
  let hash = OFFSET;
  const add = (bytes: Uint8Array) => {
    for (const byte of bytes) hash = Math.imul(hash ^ byte, PRIME) >>> 0;
  };
  for (const name of names) {
    add(new TextEncoder().encode(name));
    const { data } = await storedNumbers(frozen[name]!);
    add(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return { frozen: hash.toString(16).padStart(8, '0') };
}
