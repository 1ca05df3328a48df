import type { Decoder } from '@huggingface/tokenizers';
import { PosttrainError } from '@posttrain/interfaces';
import { byteOfFallbackToken } from './decoders.js';

/** What single tokens add to a text, as bytes. */
export interface TokenBytes {
  /** By token id, behind other text; undefined: nothing that is known on its own. */
  readonly inside: readonly (Uint8Array | undefined)[];
  /** The same for the first token of a text, whose decoder may strip a space; undefined where that changes nothing. */
  readonly first: readonly (Uint8Array | undefined)[] | undefined;
}

/** A tokenizer whose tokens do not each stand for bytes of their own. */
export class TokenBytesError extends PosttrainError {
  constructor(what: string) {
    super('TOKEN_BYTES', `the tokens of this tokenizer have no bytes of their own: ${what}; constraints need that`);
  }
}

/** Characters of a byte-level vocabulary by byte, as GPT-2 made it: printable ones are themselves, the rest follow U+0100. */
function byteLevelAlphabet(): Map<string, number> {
  const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  const alphabet = new Map<string, number>();
  let others = 0;
  for (let byte = 0; byte < 256; byte++) {
    alphabet.set(String.fromCharCode(isPrintable(byte) ? byte : 256 + others++), byte);
  }
  return alphabet;
}

interface DecoderConfig {
  readonly type?: string;
  readonly decoders?: readonly DecoderConfig[];
  readonly prepend_scheme?: string;
  readonly replacement?: string;
  readonly content?: string;
  readonly start?: number;
  readonly pattern?: { readonly String?: string };
}

/** The bytes of a token's name, and how many of its spaces are lost at the start of a text. @throws TokenBytesError */
export function tokenBytesOf(
  decoder: Decoder | null,
  names: readonly (string | undefined)[],
  isAdded: (name: string) => boolean,
): TokenBytes {
  const config = (decoder?.config ?? {}) as DecoderConfig;
  const parts = config.type === 'Sequence' ? (config.decoders ?? []) : [config];
  const types = parts.map(({ type }) => type);
  const utf8 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf8'));
  if (types.includes('ByteLevel')) {
    const alphabet = byteLevelAlphabet();
    const inside = names.map((name) => {
      if (name === undefined) return undefined;
      if (isAdded(name)) return utf8(name);
      const bytes = Array.from(name, (character) => alphabet.get(character));
      return bytes.includes(undefined) ? undefined : Uint8Array.from(bytes as number[]);
    });
    return { inside, first: undefined };
  }
  const known = ['Replace', 'ByteFallback', 'Fuse', 'Strip', 'Metaspace'];
  const other = types.find((type) => !known.includes(type ?? ''));
  if (parts.length === 0 || other !== undefined || !types.some((type) => type === 'Replace' || type === 'Metaspace')) {
    throw new TokenBytesError(`it decodes with ${other ?? config.type ?? 'nothing'}`);
  }
  const metaspace = parts.find(({ type }) => type === 'Metaspace');
  const replace = parts.find(({ type }) => type === 'Replace');
  const marker = metaspace?.replacement ?? replace?.pattern?.String ?? '▁';
  const strip = parts.find(({ type, content }) => type === 'Strip' && content === ' ');
  const lost = metaspace ? (metaspace.prepend_scheme === 'never' ? 0 : Infinity) : (strip?.start ?? 0);
  const bytesOf = (name: string | undefined, isFirst: boolean): Uint8Array | undefined => {
    if (name === undefined) return undefined;
    const byte = types.includes('ByteFallback') ? byteOfFallbackToken(name) : undefined;
    if (byte !== undefined) return isFirst && byte === 0x20 && lost > 0 ? new Uint8Array() : Uint8Array.of(byte);
    const text = name.replaceAll(marker, ' ');
    if (!isFirst || lost === 0) return utf8(text);
    // Metaspace drops every marker of the first token, Strip the first spaces.
    if (metaspace) return utf8(name.replaceAll(marker, ''));
    return utf8(text.replace(/^ */, (spaces) => spaces.slice(lost)));
  };
  return {
    inside: names.map((name) => bytesOf(name, false)),
    first: lost === 0 ? undefined : names.map((name) => bytesOf(name, true)),
  };
}
