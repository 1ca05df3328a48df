import { type Fields, TokenizerComponentError } from '../fields.js';
import type { Edit } from '../piece.js';
import { graphemes } from '../unicode/graphemes.js';

/** Longer clusters are looked up character by character. */
const MAX_CLUSTER_BYTES = 5;

const encoder = new TextEncoder();

/**
 * `Precompiled`: SentencePiece's table of replacements. Base64 of a size, a trie of that many bytes (a double array of
 * 32-bit units, as the Darts library writes it), and the replacements, each ended by a zero byte. The reference
 * implementation takes, for a whole cluster, the replacement of its shortest prefix that has one; so does this.
 */
export function precompiled(fields: Fields): Edit {
  const bytes = decodeBase64(fields);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const units = bytes.length < 4 ? -1 : view.getUint32(0, true) >>> 2;
  if (units < 1 || 4 + 4 * units > bytes.length) fields.fail('precompiled_charsmap', 'is not a table of replacements.');
  const texts = bytes.subarray(4 + 4 * units);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    decoder.decode(texts);
  } catch {
    fields.fail('precompiled_charsmap', 'has replacements that are not UTF-8.');
  }
  const unit = (i: number): number => {
    if (i >= 0 && i < units) return view.getUint32(4 + 4 * i, true);
    throw new TokenizerComponentError(`${fields.where}.precompiled_charsmap`, 'is damaged: its trie leads outside it.');
  };
  const offset = (value: number) => ((value >>> 10) << ((value & 0x200) >>> 6)) >>> 0;

  const find = (text: string): string | undefined => {
    let node = offset(unit(0));
    for (const byte of encoder.encode(text)) {
      if (byte === 0) return undefined;
      node ^= byte;
      const value = unit(node);
      if ((value & 0x800000ff) >>> 0 !== byte) return undefined;
      node ^= offset(value);
      if ((value & 0x100) !== 0) return replacement(unit(node) & 0x7fffffff);
    }
    return undefined;
  };
  const replacement = (start: number): string | undefined => {
    if (start >= texts.length) return start === texts.length ? '' : undefined;
    const end = texts.indexOf(0, start);
    return decoder.decode(texts.subarray(start, end < 0 ? texts.length : end));
  };
  const known = new Map<string, string | undefined>();
  const lookUp = (text: string): string | undefined => {
    if (!known.has(text)) {
      if (known.size > 20_000) known.clear();
      known.set(text, find(text));
    }
    return known.get(text);
  };

  return (text, log) => {
    let result = '';
    let at = 0;
    const put = (old: string, replaced: string) => {
      result += replaced;
      if (log) for (let i = 0; i < replaced.length; i++) log.push(at + Math.min(i, old.length - 1));
      at += old.length;
    };
    for (const cluster of graphemes(text)) {
      const short = cluster.length <= MAX_CLUSTER_BYTES && encoder.encode(cluster).length <= MAX_CLUSTER_BYTES;
      const whole = short ? lookUp(cluster) : undefined;
      if (whole !== undefined) put(cluster, whole);
      else for (const character of cluster) put(character, lookUp(character) ?? character);
    }
    return result;
  };
}

function decodeBase64(fields: Fields): Uint8Array {
  const text = fields.string('precompiled_charsmap');
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return fields.fail('precompiled_charsmap', 'is not base64.');
  }
}
